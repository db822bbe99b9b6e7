use axum_generic_session::{Error, Session};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

async fn cart(session: Session<Cart>) -> Result<(), Error> {
    session.update(|cart| cart.items.clear()).await
}

fn main() {}
