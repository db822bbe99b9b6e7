use axum_generic_session::{Error, Session};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Visits {
    count: u64,
}

async fn more() -> u64 {
    1
}

async fn count(session: Session<Visits>) -> Result<(), Error> {
    session.update(|visits| visits.count += more().await).await
}

fn main() {}
