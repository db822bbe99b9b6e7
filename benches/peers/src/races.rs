//! Two requests of one visitor at one time, over the memory stores: what is lost, and what returns. By gates: the two
//! overlap in every round.

use axum::{Router, body, http::HeaderValue};
use tower_service::Service;

use crate::{
    apps::{Mode, Peer, SIDES, Size, app, call, meet, request, visitors},
    report::{Cell, Row, Target},
};

const ROUNDS: usize = 200;

pub fn rows() -> Vec<Row> {
    eprintln!("races");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let counted = Peer::WITH_SESSIONS.map(|peer| {
        let races = runtime.block_on(async {
            let mut app = app(peer, Mode::Deferred).await;
            let mut sums = [0.0; 3];
            for _ in 0..ROUNDS {
                let lost = loses_a_value(&mut app).await;
                let [returned, told] = outlives_a_logout(&mut app).await;
                for (sum, one) in sums.iter_mut().zip([lost, returned, told]) {
                    *sum += f64::from(u8::from(one));
                }
            }
            sums
        });
        (peer, races)
    });
    let names = [
        ("races: a value that one of two writers has lost", Target::value(0.0)),
        ("races: a session that a late writer has brought back", Target::value(0.0)),
        ("races: a late writer who was told", Target::value(ROUNDS as f64)),
    ];
    let row = |(i, (name, target)): (usize, (&str, Target))| {
        let cells = counted.iter().map(|(peer, races)| Cell::of(*peer, races[i])).collect();
        Row::new(name, "of 200", target, cells)
    };
    names.into_iter().enumerate().map(row).collect()
}

/// Two requests have read the session before either writes a value of its own. Whether one is missing afterwards.
async fn loses_a_value(app: &mut Router) -> bool {
    let cookie = visitors(app, Size::Small, 1).await.remove(0);
    let (mut left, mut right) = (app.clone(), app.clone());
    let both =
        tokio::join!(call(&mut left, "/left", Some(&cookie)), call(&mut right, "/right", Some(&cookie)));
    drop(both);
    number(app, "/sides", &cookie).await < SIDES.len()
}

/// A request has read the session before a logout, and writes it afterwards. Whether the visitor is known again, and
/// whether the writer was told that it came too late.
async fn outlives_a_logout(app: &mut Router) -> [bool; 2] {
    let cookie = visitors(app, Size::Small, 1).await.remove(0);
    let mut slow = app.clone();
    let late = Service::call(&mut slow, request("/late", Some(&cookie)));
    let logout = async {
        meet().await;
        drop(call(app, "/logout", Some(&cookie)).await);
        meet().await;
    };
    let (late, ()) = tokio::join!(late, logout);
    let told = !late.unwrap_or_else(|never| match never {}).status().is_success();
    [number(app, "/read", &cookie).await > 0, told]
}

async fn number(app: &mut Router, path: &'static str, cookie: &HeaderValue) -> usize {
    let body = call(app, path, Some(cookie)).await.into_body();
    let body = body::to_bytes(body, 64).await.expect("a short answer");
    String::from_utf8_lossy(&body).parse().expect("a number")
}
