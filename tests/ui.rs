//! What the compiler says about the usual mistakes. The texts are those of the toolchain that CI uses; after a change
//! that is meant, `TRYBUILD=overwrite cargo test --all-features --test ui` writes them anew.
#![cfg(all(feature = "memory-store", feature = "testing"))]

#[test]
fn mistakes_are_told_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
