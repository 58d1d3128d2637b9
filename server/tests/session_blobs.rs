//! Sealed files over real TLS: in Postgres, and in a real S3-compatible store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod s3_support;
mod support;

use std::time::{Duration, Instant};

use s3_support::{Presence, S3Server};
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, UploadState};
use sotto_protocol::{BlobId, ErrorCode};
use support::Deployment;
use support::client::Client;
use support::person::Person;

const PIECE: usize = 262_144;

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 7 + at / 262_144) as u8).collect()
}

fn fresh() -> BlobId {
    BlobId::from_bytes(rand::random())
}

fn start(id: BlobId, size: usize) -> Request {
    Request::StartUpload(wire::StartUpload {
        blob_id: id.to_vec(),
        size: size as u64,
    })
}

fn chunk(id: BlobId, whole: &[u8], offset: usize) -> Request {
    let end = whole.len().min(offset + PIECE);
    piece(id, offset, &whole[offset..end])
}

fn piece(id: BlobId, offset: usize, data: &[u8]) -> Request {
    Request::UploadChunk(wire::UploadChunk {
        blob_id: id.to_vec(),
        offset: offset as u64,
        data: data.to_vec().into(),
    })
}

fn get(id: BlobId, offset: usize, length: usize) -> Request {
    Request::GetBlob(wire::GetBlob {
        blob_id: id.to_vec(),
        offset: offset as u64,
        length: length as u32,
    })
}

fn delete(id: BlobId) -> Request {
    Request::DeleteBlob(wire::DeleteBlob {
        blob_id: id.to_vec(),
    })
}

fn state(answer: Response) -> UploadState {
    match answer {
        Response::UploadState(state) => state,
        other => panic!("no state: {other:?}"),
    }
}

/// Sends pieces from where the server stands, `pieces` of them at most.
async fn upload(client: &mut Client, id: BlobId, whole: &[u8], pieces: usize) -> UploadState {
    let mut now = state(client.ask(start(id, whole.len())).await);
    for _ in 0..pieces {
        if now.complete {
            break;
        }
        let request = chunk(id, whole, usize::try_from(now.stored).unwrap());
        now = state(client.ask(request).await);
    }
    now
}

async fn download(client: &mut Client, id: BlobId) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        match client.ask(get(id, whole.len(), PIECE)).await {
            Response::BlobPiece(piece) => {
                assert!(!piece.data.is_empty());
                whole.extend_from_slice(&piece.data);
                if whole.len() as u64 == piece.size {
                    return whole;
                }
            }
            other => panic!("no piece: {other:?}"),
        }
    }
}

async fn sql(deployment: &Deployment) -> tokio_postgres::Client {
    let url = &deployment.database_url;
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

async fn pieces_left(deployment: &Deployment) -> i64 {
    let row = sql(deployment)
        .await
        .query_one("SELECT count(*) FROM blob_piece", &[])
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test]
async fn every_fourth_piece_and_the_last_wait_for_the_disk() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    let (id, whole) = (fresh(), bytes(6 * PIECE + 100));
    state(client.ask(start(id, whole.len())).await);
    let mut durable = Vec::new();
    for piece in 0..7 {
        let now = state(client.ask(chunk(id, &whole, piece * PIECE)).await);
        durable.push(now.durable);
    }
    let (four, all) = (4 * PIECE as u64, whole.len() as u64);
    assert_eq!(durable, [0, 0, 0, four, four, four, all]);
    assert!(download(&mut client, id).await == whole);
}

#[tokio::test]
async fn an_upload_goes_on_at_another_server_after_a_kill() {
    let deployment = Deployment::new();
    let (mut first, second) = (deployment.start(""), deployment.start(""));
    let (alice, mut client) = Person::register("alice", &deployment, &first).await;
    let (_, mut bob) = Person::register("bob", &deployment, &second).await;
    let (id, whole) = (fresh(), bytes(3 * PIECE + 100));
    let now = upload(&mut client, id, &whole, 2).await;
    assert_eq!((now.stored, now.complete), (2 * PIECE as u64, false));
    assert_eq!(now.durable, 0, "nothing waited for the disk yet");
    // Nobody reads what is not whole.
    let early = bob.refused(get(id, 0, 10)).await;
    assert_eq!(early.0, ErrorCode::UnknownBlob);
    first.kill();
    let mut client = alice.log_in(&deployment, &second).await;
    let now = upload(&mut client, id, &whole, 0).await;
    assert_eq!(now.stored, 2 * PIECE as u64, "what was answered is there");
    assert_eq!(now.durable, now.stored, "whoever asks may rely on it");
    let now = upload(&mut client, id, &whole, 9).await;
    assert!(now.complete && now.expires_at_ms > support::now_ms() + 29 * 24 * 3600 * 1000);
    assert_eq!(download(&mut bob, id).await, whole);
    // From any byte, of any length.
    for (offset, length) in [
        (0, 1),
        (PIECE - 1, 2),
        (PIECE + 5, PIECE),
        (3 * PIECE + 99, 9),
    ] {
        match bob.ask(get(id, offset, length)).await {
            Response::BlobPiece(piece) => {
                let end = whole.len().min(offset + length);
                assert_eq!(piece.data, whole[offset..end]);
            }
            other => panic!("{other:?}"),
        }
    }
    // It says that it is whole for whoever asks again, and takes nothing more.
    assert!(upload(&mut client, id, &whole, 0).await.complete);
    let more = client.refused(piece(id, whole.len(), b"more")).await;
    assert_eq!(more.0, ErrorCode::BlobMismatch);
}

#[tokio::test]
async fn only_what_fits_is_taken() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    let (_, mut eve) = Person::register("eve", &deployment, &server).await;
    let (id, whole) = (fresh(), bytes(2 * PIECE + 5));
    upload(&mut client, id, &whole, 1).await;
    let wrong = [
        piece(id, 0, &whole[..PIECE]),
        piece(id, 2 * PIECE, &whole[2 * PIECE..]),
        piece(id, PIECE, &whole[PIECE..PIECE + 1]),
        piece(id, PIECE, b""),
        start(id, whole.len() + 1),
    ];
    for request in wrong {
        assert_eq!(client.refused(request).await.0, ErrorCode::BlobMismatch);
    }
    let large = piece(id, PIECE, &vec![0; PIECE + 1]);
    assert_eq!(client.refused(large).await.0, ErrorCode::TooLarge);
    // Who knows the id may read it, and nothing else.
    assert_eq!(
        eve.refused(start(id, whole.len())).await.0,
        ErrorCode::BlobMismatch
    );
    assert_eq!(
        eve.refused(chunk(id, &whole, PIECE)).await.0,
        ErrorCode::UnknownBlob
    );
    assert_eq!(eve.refused(delete(id)).await.0, ErrorCode::UnknownBlob);
    assert!(upload(&mut client, id, &whole, 9).await.complete);
    assert_eq!(download(&mut eve, id).await, whole);
    assert_eq!(eve.refused(delete(id)).await.0, ErrorCode::UnknownBlob);
    assert_eq!(
        eve.refused(get(id, whole.len(), 1)).await.0,
        ErrorCode::BlobMismatch
    );
    assert_eq!(eve.refused(get(id, 0, 0)).await.0, ErrorCode::Malformed);
    assert_eq!(
        eve.refused(get(fresh(), 0, 1)).await.0,
        ErrorCode::UnknownBlob
    );
    let odd = Request::GetBlob(wire::GetBlob {
        blob_id: vec![1],
        offset: 0,
        length: 1,
    });
    assert_eq!(eve.refused(odd).await.0, ErrorCode::Malformed);
    assert!(matches!(client.ask(delete(id)).await, Response::Done(_)));
    assert_eq!(eve.refused(get(id, 0, 1)).await.0, ErrorCode::UnknownBlob);
    assert_eq!(pieces_left(&deployment).await, 0);
}

#[tokio::test]
async fn sizes_and_quotas_are_kept() {
    let deployment = Deployment::new();
    let server = deployment.start("blob_bytes_max = 300000\nblob_quota_bytes = 700000");
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    assert_eq!(
        client.refused(start(fresh(), 300_001)).await.0,
        ErrorCode::TooLarge
    );
    assert_eq!(
        client.refused(start(fresh(), 0)).await.0,
        ErrorCode::BlobMismatch
    );
    let (first, second) = (fresh(), fresh());
    for id in [first, second] {
        assert!(upload(&mut client, id, &bytes(300_000), 9).await.complete);
    }
    // What was only begun counts as well: nobody overbooks.
    let third = fresh();
    assert_eq!(
        client.refused(start(third, 200_000)).await.0,
        ErrorCode::QuotaExceeded
    );
    assert!(matches!(client.ask(delete(first)).await, Response::Done(_)));
    assert!(
        upload(&mut client, third, &bytes(200_000), 9)
            .await
            .complete
    );
    match client.ask(Request::GetSettings(wire::GetSettings {})).await {
        Response::Settings(settings) => {
            assert_eq!(settings.blob_bytes_used, 500_000);
            assert_eq!(settings.blob_bytes_max, 700_000);
        }
        other => panic!("{other:?}"),
    }
    let generous = "UPDATE account SET quota_bytes = 10000000";
    sql(&deployment)
        .await
        .batch_execute(generous)
        .await
        .unwrap();
    assert!(
        upload(&mut client, fresh(), &bytes(300_000), 9)
            .await
            .complete
    );
}

#[tokio::test]
async fn what_expired_is_gone() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    let (kept, old) = (fresh(), fresh());
    for id in [kept, old] {
        assert!(upload(&mut client, id, &bytes(1000), 9).await.complete);
    }
    let database = sql(&deployment).await;
    let expire = "UPDATE blob SET expires_at = now() - interval '1 s' WHERE id = $1";
    let key = old.to_vec();
    assert_eq!(database.execute(expire, &[&key]).await.unwrap(), 1);
    assert_eq!(
        client.refused(get(old, 0, 1)).await.0,
        ErrorCode::UnknownBlob
    );
    wait_until("the sweep", async || pieces_left(&deployment).await == 1).await;
    assert_eq!(download(&mut client, kept).await, bytes(1000));
}

#[tokio::test]
async fn an_object_store_holds_files_that_were_sent_in_parts() {
    let s3 = S3Server::start();
    let deployment = Deployment::new();
    let mut first = deployment.start(&s3.configuration());
    let second = deployment.start(&s3.configuration());
    let (alice, mut client) = Person::register("alice", &deployment, &first).await;
    let (id, whole) = (fresh(), bytes(17 * 1024 * 1024 + 333));
    upload(&mut client, id, &whole, 40).await;
    assert_eq!(pieces_left(&deployment).await, 8, "one part has moved");
    first.kill();
    let mut client = alice.log_in(&deployment, &second).await;
    let now = upload(&mut client, id, &whole, 99).await;
    assert!(now.complete);
    assert_eq!(pieces_left(&deployment).await, 0, "all parts have moved");
    assert_eq!(std::fs::read(s3.object(&id.to_string())).unwrap(), whole);
    assert!(download(&mut client, id).await == whole);
    assert!(matches!(client.ask(delete(id)).await, Response::Done(_)));
    assert!(!s3.object(&id.to_string()).exists());
    assert_eq!(
        client.refused(get(id, 0, 1)).await.0,
        ErrorCode::UnknownBlob
    );
    // A small one goes in one request, and expires with its object.
    let small = fresh();
    assert!(upload(&mut client, small, &bytes(5000), 9).await.complete);
    assert_eq!(download(&mut client, small).await, bytes(5000));
    let expire = "UPDATE blob SET expires_at = now() - interval '1 s'";
    sql(&deployment).await.batch_execute(expire).await.unwrap();
    let object = s3.object(&small.to_string());
    wait_until("the sweep", async || !object.exists()).await;
}

#[tokio::test]
async fn an_object_store_that_is_away_costs_time_only() {
    let s3 = S3Server::start();
    let deployment = Deployment::new();
    let server = deployment.start(&s3.configuration());
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    let (id, whole) = (fresh(), bytes(9 * 1024 * 1024));
    upload(&mut client, id, &whole, 31).await;
    s3.set(Presence::Away);
    let (code, error) = client.refused(chunk(id, &whole, 31 * PIECE)).await;
    assert_eq!(code, ErrorCode::Unavailable);
    assert!(error.retry_after_ms > 0);
    s3.set(Presence::Here);
    let now = upload(&mut client, id, &whole, 0).await;
    assert_eq!(
        now.stored,
        32 * PIECE as u64,
        "the refused piece was durable"
    );
    assert!(upload(&mut client, id, &whole, 99).await.complete);
    assert!(download(&mut client, id).await == whole);
    // What is away is not taken for gone.
    s3.set(Presence::Away);
    assert_eq!(
        client.refused(get(id, 0, 1)).await.0,
        ErrorCode::Unavailable
    );
    s3.set(Presence::Here);
    assert!(download(&mut client, id).await == whole);
}

#[expect(clippy::disallowed_methods, reason = "a test acts in real time")]
async fn wait_until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + support::PATIENCE;
    while !reached().await {
        assert!(Instant::now() < end, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
