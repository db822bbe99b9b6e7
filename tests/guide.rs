//! The guide holds together: what errors and chapters point to exists. That its examples compile, the doctests see to.

use std::{collections::BTreeSet, fs, path::Path};

const PAGES: &str = "https://docs.rs/axum-generic-session/latest/axum_generic_session/guide/";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files below a folder, as text.
fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push((path.display().to_string(), fs::read_to_string(&path).expect("text")));
        }
    }
}

/// A chapter's pages as links name them: itself (``), and each of its headings.
fn headings(chapter: &str) -> Option<BTreeSet<String>> {
    let text = fs::read_to_string(root().join(format!("docs/guide/{chapter}.md"))).ok()?;
    let mut in_code = false;
    let mut found = BTreeSet::from([String::new()]);
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if !in_code && line.starts_with('#') {
            found.insert(anchor(line.trim_start_matches('#').trim()));
        }
    }
    Some(found)
}

/// The id that rustdoc gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn must_exist(place: &str, chapter: &str, heading: &str) {
    let headings = headings(chapter).unwrap_or_else(|| panic!("{place} points to a chapter `{chapter}`"));
    assert!(
        headings.contains(heading),
        "{place} points to `#{heading}` in {chapter}.md, which has {headings:#?}"
    );
}

/// What stands between `from` and `to` in each place where `from` is.
fn between<'a>(text: &'a str, from: &'a str, to: &'a [char]) -> impl Iterator<Item = &'a str> {
    text.split(from).skip(1).filter_map(move |rest| rest.split(to).next())
}

#[test]
fn every_page_that_an_error_names_exists() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut links = 0;
    for (place, text) in &files {
        for arguments in between(text, "see!(\"", &[')']) {
            let mut words = arguments.split('"').filter(|word| !word.trim_matches([',', ' ']).is_empty());
            must_exist(place, words.next().unwrap_or_default(), words.next().unwrap_or_default());
            links += 1;
        }
        for url in between(text, PAGES, &['"', '`', ' ', '\n']).filter(|url| !url.is_empty()) {
            let (chapter, heading) = url.split_once("/index.html").unwrap_or((url, ""));
            must_exist(place, chapter, heading.trim_start_matches('#'));
            links += 1;
        }
    }
    assert!(links >= 14, "only {links} links were found: has their form changed?");
}

#[test]
fn every_place_in_the_guide_that_a_chapter_names_exists() {
    let guide = fs::read_to_string(root().join("src/guide.rs")).expect("the list of chapters");
    let mut chapters = 0;
    for entry in fs::read_dir(root().join("docs/guide")).expect("the guide") {
        let path = entry.expect("an entry").path();
        let chapter = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("text");
        assert!(guide.contains(&format!("pub mod {chapter} {{}}")), "{chapter} is no part of the guide");
        assert!(guide.contains(&format!("[{chapter}]")), "{chapter} is not in the guide's table");
        for target in between(&text, "](crate::guide::", &[')']) {
            let (chapter, heading) = target.split_once('#').unwrap_or((target, ""));
            must_exist(&path.display().to_string(), chapter, heading);
        }
        for heading in between(&text, "](#", &[')']) {
            must_exist(&path.display().to_string(), &chapter, heading);
        }
        chapters += 1;
    }
    assert_eq!(chapters, guide.matches("pub mod ").count());
}

#[test]
fn every_file_that_a_text_links_to_exists_and_the_readme_hides_no_line() {
    let mut texts: Vec<_> =
        ["README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|n| root().join(n)).into();
    let docs = fs::read_dir(root().join("docs"))
        .expect("the documents")
        .map(|entry| entry.expect("an entry").path());
    texts.extend(docs.filter(|path| path.extension().is_some_and(|end| end == "md")));
    for path in texts {
        let text = fs::read_to_string(&path).expect("text");
        for target in between(&text, "](", &[')', '#']).filter(|t| !t.is_empty() && !t.contains("://")) {
            let file = path.parent().expect("a folder").join(target);
            assert!(file.exists(), "{} links to {target}", path.display());
        }
    }
    // Registry pages and code hosts show what rustdoc hides.
    let readme = fs::read_to_string(root().join("README.md")).expect("the readme");
    for code in readme.split("```").skip(1).step_by(2).filter(|code| code.starts_with("rust")) {
        assert!(!code.lines().any(|line| line == "#" || line.starts_with("# ")), "a hidden line in:\n{code}");
    }
}
