use axum_generic_session::SessionLayer;

struct Pool;

fn main() {
    let _ = SessionLayer::new(Pool);
}
