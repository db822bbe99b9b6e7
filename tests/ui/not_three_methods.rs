use axum_generic_session::{SessionLayer, store::ThreeMethodStore};

struct Cache;

fn main() {
    let _ = SessionLayer::new(ThreeMethodStore::new(Cache));
}
