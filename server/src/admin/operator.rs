//! Who acts: the account of the machine, for the audit log. It is what the system says, not what
//! the caller says of themselves; behind `sudo` also what sudo says.

/// The most bytes of the name.
const NAME_BYTES_MAX: usize = 128;

/// The operator's name.
pub(crate) fn name() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let sudo = std::env::var("SUDO_USER").ok().filter(|_| uid == 0);
    describe(uid, &users, sudo.as_deref())
}

fn describe(uid: u32, users: &str, sudo: Option<&str>) -> String {
    let known = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    let mut name = known.map_or_else(|| format!("uid {uid}"), str::to_owned);
    if let Some(sudo) = sudo.filter(|sudo| !sudo.chars().any(char::is_control)) {
        name = format!("{name} for {sudo}");
    }
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    name
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn the_system_says_who_it_is() {
        let users = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbad\n";
        assert_eq!(describe(1000, users, None), "ann");
        assert_eq!(describe(0, users, Some("ann")), "root for ann");
        assert_eq!(describe(0, users, Some("a\u{1b}[2J")), "root");
        assert_eq!(describe(7, users, None), "uid 7");
        assert!(describe(7, users, Some(&"é".repeat(200))).len() <= 128);
    }
}
