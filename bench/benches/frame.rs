//! The frame codec alone: what one message costs before TLS and sockets.

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use sotto_protocol::frame::{FrameLimit, decode_frame, encode_frame};
use sotto_protocol::wire::{Append, ClientFrame, client_frame};

fn append() -> ClientFrame {
    ClientFrame {
        request_id: 7,
        body: Some(client_frame::Body::Append(Append {
            conversation_id: vec![1; 16],
            generation: 0,
            epoch: 1,
            client_id: vec![2; 16],
            payload: Bytes::from(vec![3; 512]),
        })),
    }
}

fn codec(criterion: &mut Criterion) {
    let frame = append();
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    criterion.bench_function("encode an append of 512 bytes", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            encode_frame(&frame, &mut buffer)
        });
    });
    buffer.clear();
    let _ = encode_frame(&frame, &mut buffer);
    let encoded: Bytes = buffer.freeze();
    criterion.bench_function("decode an append of 512 bytes", |bencher| {
        bencher.iter(|| {
            let mut arrived = BytesMut::from(&encoded[..]);
            decode_frame::<ClientFrame>(&mut arrived, FrameLimit::AfterLogin)
        });
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
