use axum_generic_session::{Error, Session};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Visits {
    count: u64,
}

async fn count(session: Session<Visits>) -> Result<(), Error> {
    let mut visits = session.get().await?;
    visits.count += 1;
    Ok(())
}

fn main() {}
