//! The chapters about a group and an image.

use serde_json::Value;

use super::person::{Answer, texts};
use super::{DemoError, Stage};

/// A photo that says in its metadata who took it with what, and where.
const PHOTO: &[u8] = include_bytes!("photo.jpg");
/// What must not leave with it.
const BETRAYING: [&[u8]; 3] = [b"photographed-by-alice", b"Demonstration camera", b"Exif"];
/// The group, as the command line names it.
const GROUP: &str = "#Sunday walk";

impl Stage {
    pub(super) fn meet_in_a_group(&mut self) -> Result<(), DemoError> {
        self.chapter("A group that its admins manage")?;
        self.carol.succeed(&["register", "carol"])?;
        let title = self.write("Sunday walk");
        let made = self
            .alice
            .succeed(&["group", "new", &title, "bob", "carol"])?;
        let id = conversation(&made)?;
        self.holds("alice makes a group and invites bob and carol; its title is sealed");
        for person in [&self.bob, &self.carol] {
            person.succeed(&["listen", "--for", "2s"])?;
            person.succeed(&["join", &id])?;
        }
        self.holds("both accept");
        let text = self.write("ten o'clock at the bridge?");
        self.alice.succeed(&["send", GROUP, &text])?;
        for person in [&self.bob, &self.carol] {
            let heard = person.succeed(&["listen", "--count", "1", "--for", "30s"])?;
            if !texts(&heard.events).any(|heard| heard == text) {
                return Err(DemoError::failed(format!(
                    "{} does not read what alice wrote to the group",
                    person.name
                )));
            }
        }
        self.holds(&format!("alice → {GROUP}: “{text}”, and both read it"));
        let refused = self.carol.run(&["group", "remove", &id, "bob"])?;
        if refused.code == Some(0) || !refused.complaint.contains("only an admin can") {
            return Err(DemoError::failed(format!(
                "carol, who is no admin, could remove bob: {}",
                refused.complaint
            )));
        }
        self.holds("carol, who is no admin, cannot put bob out: “only an admin can”");
        self.put_carol_out(&id)
    }

    fn put_carol_out(&mut self, id: &str) -> Result<(), DemoError> {
        self.alice.succeed(&["group", "remove", id, "carol"])?;
        let text = self.write("carol does not read this");
        self.alice.succeed(&["send", GROUP, &text])?;
        let heard = self.carol.succeed(&["listen", "--for", "3s"])?;
        if texts(&heard.events).any(|heard| heard == text) {
            return Err(DemoError::failed("carol reads on after she was put out"));
        }
        let heard = self
            .bob
            .succeed(&["listen", "--count", "1", "--for", "30s"])?;
        if !texts(&heard.events).any(|heard| heard == text) {
            return Err(DemoError::failed("bob does not read on"));
        }
        self.holds("alice puts carol out: bob reads on, carol does not");
        Ok(())
    }

    pub(super) fn send_an_image(&mut self) -> Result<(), DemoError> {
        self.chapter("An image, without what it would betray")?;
        let sent = self.folder.join("photo.jpg");
        std::fs::write(&sent, PHOTO)?;
        let caption = self.write("the bridge");
        let path = sent.display().to_string();
        self.alice
            .succeed(&["send", "bob", &caption, "--file", &path])?;
        let heard = self
            .bob
            .succeed(&["listen", "--count", "1", "--for", "30s"])?;
        let message = heard
            .events
            .iter()
            .find(|event| event["kind"] == "attachment")
            .and_then(|event| event["id"].as_str())
            .ok_or_else(|| DemoError::failed("bob was told of no image"))?;
        let to = self.folder.join("saved");
        std::fs::create_dir_all(&to)?;
        let folder = to.display().to_string();
        let saved = self.bob.succeed(&["save", message, "--to", &folder])?;
        let saved = saved
            .events
            .iter()
            .find(|event| event["event"] == "saved")
            .and_then(|event| event["path"].as_str())
            .ok_or_else(|| DemoError::failed("bob's client did not say where the image is"))?;
        let bytes = std::fs::read(saved)?;
        let betrayed = BETRAYING
            .iter()
            .any(|word| bytes.windows(word.len()).any(|window| window == *word));
        if betrayed || !bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            return Err(DemoError::failed(
                "the image that bob saved is not the cleaned one",
            ));
        }
        self.holds(&format!(
            "bob saves {} bytes of the {} that alice has: place, camera and name stayed with her",
            bytes.len(),
            PHOTO.len()
        ));
        Ok(())
    }
}

/// The conversation that a command made.
fn conversation(made: &Answer) -> Result<String, DemoError> {
    let id = made
        .events
        .iter()
        .find(|event| event["event"] == "group_made")
        .and_then(|event| event["conversation"].as_str());
    id.map(str::to_owned)
        .ok_or_else(|| DemoError::failed(format!("no group was made: {:?}", kinds(&made.events))))
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect()
}
