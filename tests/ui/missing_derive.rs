use axum::{Router, routing::get};
use axum_generic_session::{MemoryStore, Session, SessionLayer};

struct Cart {
    items: Vec<String>,
}

async fn cart(session: Session<Cart>) -> String {
    session.get().await.unwrap().items.join(", ")
}

fn main() {
    let _: Router = Router::new().route("/", get(cart)).layer(SessionLayer::new(MemoryStore::new()));
}
