//! Everything that is public, as a text beside this file, so that a change of it is seen where it is made. After a change
//! that is meant, `PUBLIC_API=overwrite cargo test --test public_api` writes it anew.
//!
//! The text is made from the sources: what is `pub` there is reachable, the lint `unreachable_pub` sees to that. So it
//! knows all features and all platforms, and needs no nightly compiler.

use std::{collections::BTreeSet, env, fs, path::Path};

use syn::{Attribute, Fields, ImplItem, Item, Type, Visibility, punctuated::Punctuated};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/public_api/snapshot.txt");

fn parse(folder: &Path, into: &mut Vec<(String, syn::File)>) {
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            parse(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("in the package");
            into.push((name.display().to_string(), syn::parse_file(&text).expect("Rust")));
        }
    }
}

const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Of the attributes those that users of the item notice.
fn strip(attributes: &mut Vec<Attribute>) {
    attributes.retain(|a| ["cfg", "must_use", "non_exhaustive"].iter().any(|kept| a.path().is_ident(kept)));
}

fn strip_fields(fields: &mut Fields) {
    match fields {
        Fields::Named(fields) => {
            let kept = std::mem::take(&mut fields.named).into_iter().filter(|f| is_public(&f.vis));
            fields.named = kept.collect::<Punctuated<_, _>>();
            fields.named.iter_mut().for_each(|f| strip(&mut f.attrs));
        }
        Fields::Unnamed(fields) if !fields.unnamed.iter().all(|f| is_public(&f.vis)) => {
            fields.unnamed.clear()
        }
        Fields::Unnamed(_) | Fields::Unit => {}
    }
}

fn name_of(kind: &Type) -> Option<String> {
    match kind {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(reference) => name_of(&reference.elem),
        _ => None,
    }
}

/// The names of types and traits of the whole crate.
#[derive(Default)]
struct Names {
    public: BTreeSet<String>,
    private: BTreeSet<String>,
}

impl Names {
    fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut names = Self::default();
        for item in items {
            let (visibility, name) = match item {
                Item::Struct(item) => (&item.vis, &item.ident),
                Item::Enum(item) => (&item.vis, &item.ident),
                Item::Trait(item) => (&item.vis, &item.ident),
                _ => continue,
            };
            let set = if is_public(visibility) { &mut names.public } else { &mut names.private };
            set.insert(name.to_string());
        }
        names
    }
}

/// What a user may rely on of an item, without bodies and documentation; `None`: nothing.
fn outline(mut item: Item, names: &Names, here: &BTreeSet<String>) -> Option<Item> {
    let visible = match &mut item {
        Item::Mod(item) => {
            strip(&mut item.attrs);
            is_public(&item.vis)
        }
        Item::Use(item) => {
            strip(&mut item.attrs);
            is_public(&item.vis)
        }
        Item::Const(item) => {
            strip(&mut item.attrs);
            is_public(&item.vis)
        }
        Item::Type(item) => {
            strip(&mut item.attrs);
            is_public(&item.vis)
        }
        Item::Fn(item) => {
            strip(&mut item.attrs);
            item.block.stmts.clear();
            is_public(&item.vis)
        }
        Item::Struct(item) => {
            // A derive is an implementation; the others stand for themselves.
            item.attrs.retain(|a| a.path().is_ident("derive") || a.path().is_ident("non_exhaustive"));
            strip_fields(&mut item.fields);
            is_public(&item.vis)
        }
        Item::Enum(item) => {
            item.attrs.retain(|a| a.path().is_ident("derive") || a.path().is_ident("non_exhaustive"));
            item.variants.iter_mut().for_each(|v| {
                v.attrs.clear();
                v.fields.iter_mut().for_each(|f| f.attrs.clear());
            });
            is_public(&item.vis)
        }
        Item::Trait(item) => {
            strip(&mut item.attrs);
            for member in &mut item.items {
                if let syn::TraitItem::Fn(method) = member {
                    strip(&mut method.attrs);
                    method.default.iter_mut().for_each(|body| body.stmts.clear());
                }
            }
            is_public(&item.vis)
        }
        Item::Impl(item) => {
            strip(&mut item.attrs);
            let is_trait = item.trait_.is_some();
            item.items.retain_mut(|member| match member {
                ImplItem::Fn(method) => {
                    strip(&mut method.attrs);
                    method.block.stmts.clear();
                    !is_trait && is_public(&method.vis)
                }
                ImplItem::Const(constant) => {
                    strip(&mut constant.attrs);
                    !is_trait && is_public(&constant.vis)
                }
                ImplItem::Type(_) => true,
                _ => false,
            });
            let kind = name_of(&item.self_ty);
            let bound =
                item.trait_.as_ref().and_then(|(_, path, _)| Some(path.segments.last()?.ident.to_string()));
            let is_private = |name: &String| names.private.contains(name);
            let of_public = kind.is_some_and(|name| names.public.contains(&name) && !here.contains(&name));
            of_public && !bound.as_ref().is_some_and(is_private) && (is_trait || !item.items.is_empty())
        }
        _ => false,
    };
    visible.then_some(item)
}

#[test]
fn the_public_interface_is_the_recorded_one() {
    let mut files = Vec::new();
    parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let names = Names::of(files.iter().flat_map(|(_, file)| &file.items));
    let mut text = String::new();
    for (name, mut file) in files {
        // The guide is text, and has a test of its own.
        if name == "src/guide.rs" {
            continue;
        }
        file.attrs.clear();
        // A private type may have the name of a public one elsewhere.
        let here = Names::of(&file.items).private;
        file.items = file.items.into_iter().filter_map(|item| outline(item, &names, &here)).collect();
        if !file.items.is_empty() {
            text.push_str(&format!("// {name}\n{}\n", prettyplease::unparse(&file)));
        }
    }
    if env::var("PUBLIC_API").is_ok_and(|word| word == "overwrite") {
        fs::write(SNAPSHOT, &text).expect("the snapshot is written");
        return;
    }
    let recorded = fs::read_to_string(SNAPSHOT).expect("the snapshot");
    let (gone, new): (Vec<_>, Vec<_>) = (
        recorded.lines().filter(|line| !text.lines().any(|l| l == *line)).collect(),
        text.lines().filter(|line| !recorded.lines().any(|l| l == *line)).collect(),
    );
    assert!(
        text == recorded,
        "the public interface has changed. Gone:\n{}\nNew:\n{}\nIf that is meant: `PUBLIC_API=overwrite cargo test \
         --test public_api`, and a line in CHANGELOG.md",
        gone.join("\n"),
        new.join("\n")
    );
}
