use axum::body::Bytes;
use axum_generic_session::{
    SessionLayer,
    store::{StoreError, ThreeMethodStore, ThreeMethods},
};
use std::time::Duration;

struct Cache;

impl ThreeMethods for Cache {
    async fn get(&self, _: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
    async fn set(&self, _: &str, _: Bytes, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
    async fn destroy(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

fn main() {
    let _ = SessionLayer::by_principal(ThreeMethodStore::new(Cache));
}
