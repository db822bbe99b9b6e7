//! Whether the duration of a check tells how near a guess was: a signature that is wrong in its last character against
//! one that is wrong in its first, an id that shares all but its last character with a live one against any other.
//!
//! As dudect does it: many samples of two classes in a random order, cut above at several quantiles, Welch's t-test of
//! each; beyond 4.5 the classes are told apart. It takes a quiet machine: release size only, and the value is reported,
//! not asserted. `AGS_SIZE=release cargo test --release --test timing -- --nocapture`
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;

use axum::{
    body::{Body, Bytes},
    extract::FromRequestParts,
    http::{HeaderValue, Request, Response, header},
};
use axum_generic_session::{
    Key, MemoryStore, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    store::{Record, Tag, When},
};
use figures::{Figure, size};
use std::{convert::Infallible, hint::black_box, time::Instant};
use tower::{Layer, Service, ServiceExt, service_fn};

/// xorshift: which class comes next.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Mean and variance as they come (Welford).
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let off = x - self.mean;
        self.mean += off / self.n;
        self.squares += off * (x - self.mean);
    }

    fn error(&self) -> f64 {
        self.squares / (self.n - 1.0) / self.n
    }
}

/// Welch's t of the samples no longer than `limit`.
fn welch(samples: &[(bool, u64)], limit: u64) -> f64 {
    let mut classes = [Moments::default(); 2];
    for (class, nanos) in samples.iter().filter(|(_, nanos)| *nanos <= limit) {
        classes[usize::from(*class)].add(*nanos as f64);
    }
    let [a, b] = classes;
    (a.mean - b.mean) / (a.error() + b.error()).sqrt()
}

/// The greatest t over all cuts, in hundredths.
fn greatest(samples: &[(bool, u64)]) -> usize {
    let mut nanos: Vec<u64> = samples.iter().map(|(_, nanos)| *nanos).collect();
    nanos.sort_unstable();
    let cuts = [50, 75, 90, 95, 99].map(|percent| nanos[nanos.len() * percent / 100 - 1]);
    let values = cuts.into_iter().map(|limit| welch(samples, limit).abs());
    (values.fold(0.0, f64::max) * 100.0) as usize
}

/// Times `check` on guesses of both classes, so many in all.
fn measure<T>(what: &str, count: usize, guesses: [&[T]; 2], mut check: impl FnMut(&T)) -> usize {
    let figure = Figure::of("B27", what);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut samples = Vec::with_capacity(count);
    for n in 0..count + count / 10 {
        let bits = random.next();
        let class = bits & 1 == 1;
        let pool = guesses[usize::from(class)];
        let guess = &pool[(bits >> 1) as usize % pool.len()];
        let start = Instant::now();
        check(black_box(guess));
        let took = start.elapsed().as_nanos();
        // The first ones warm up.
        if n >= count / 10 {
            samples.push((class, u64::try_from(took).expect("a short while")));
        }
    }
    let t = greatest(&samples);
    figure.count("samples", count).count("t_hundredths", t).report();
    t
}

/// Says so where it does not measure.
fn samples() -> Option<usize> {
    let count = size(0, 1_000_000);
    if count == 0 {
        println!(
            "B27 is measured with AGS_SIZE=release only: it takes an optimised build and a quiet machine"
        );
    }
    (count > 0).then_some(count)
}

/// The test of the test: a comparison that stops at the first difference is found out, and in every run.
#[test]
fn a_comparison_that_stops_early_is_found_out() {
    let secret = vec![7_u8; 1 << 12];
    let near = [[&secret[1..], &[0]].concat()];
    let far = [[&[0], &secret[1..]].concat()];
    let t = measure("control", size(2_000, 200_000), [&near, &far], |guess: &Vec<u8>| {
        black_box(secret.iter().zip(guess).all(|(a, b)| a == b));
    });
    assert!(t > 450, "t = {t} hundredths: this machine shows no difference at all");
}

#[test]
fn a_signature_that_is_nearly_right_takes_as_long_as_any_other() {
    let Some(count) = samples() else { return };
    const POOL: usize = 64;
    let key = Key::from(&[1; 64]);
    let id = SessionId::random();
    let jar = cookie_of(&key, id.expose());
    let (signature, id) = jar.split_at(44);
    let with = |at: usize, n: usize| {
        let mut bytes = signature.as_bytes().to_vec();
        let others: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').filter(|b| *b != bytes[at]).collect();
        bytes[at] = others[n % others.len()];
        HeaderValue::from_bytes(&[b"axum.sid=", &*bytes, id.as_bytes()].concat()).expect("a header")
    };
    // The last character whose bits are all of the signature, and the first.
    let near: Vec<_> = (0..POOL).map(|n| with(41, n)).collect();
    let far: Vec<_> = (0..POOL).map(|n| with(0, n)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let layer = SessionLayer::new(MemoryStore::new()).keys([&key]);
    let page = service_fn(|request: Request<Body>| async move {
        let (mut parts, _) = request.into_parts();
        let session: Session = Session::from_request_parts(&mut parts, &()).await.expect("a session");
        assert!(session.get().await.expect("data").is_empty(), "a forged cookie is nobody's");
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let mut site = layer.layer(page);
    measure("signature", count, [&near, &far], |cookie| {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(header::COOKIE, cookie.clone());
        let answer = runtime.block_on(async { site.ready().await.expect("ready").call(request).await });
        drop(black_box(answer));
    });
}

fn cookie_of(key: &Key, id: &str) -> String {
    let mut jar = cookie::CookieJar::new();
    jar.signed_mut(key).add(cookie::Cookie::new("axum.sid", id.to_owned()));
    jar.get("axum.sid").expect("a cookie").value().to_owned()
}

#[test]
fn an_id_that_is_nearly_right_is_looked_up_as_fast_as_any_other() {
    let Some(count) = samples() else { return };
    const LIVE: usize = 1000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let store = MemoryStore::new();
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..LIVE {
        let id = SessionId::random();
        let (tag, data) = (Tag::random(), Bytes::from_static(b"{}"));
        let record = Record { tag, expires_at: Timestamp::MAX, principal: None, data };
        let key = StoreKey::hashed("axum:sess:", &id);
        let _ = runtime.block_on(store.set(&key, &record, When::Absent)).expect("the memory store");
        let last = if id.expose().ends_with('A') { 'B' } else { 'A' };
        near.push(SessionId::parse(&format!("{}{last}", &id.expose()[..31])).expect("an id"));
        far.push(SessionId::random());
    }
    measure("id", count, [&near, &far], |id| {
        let key = StoreKey::hashed("axum:sess:", id);
        let found = runtime.block_on(store.get(&key)).expect("the memory store");
        assert!(found.is_none());
    });
}
