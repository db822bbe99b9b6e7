use axum_generic_session::{MemoryStore, SessionLayer};

fn main() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions = layer.sessions().unwrap();
    let _ = sessions.of("42");
    let _ = layer.keep_newest(5);
}
