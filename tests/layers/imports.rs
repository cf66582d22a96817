//! The imports of a file: every path that leads to another layer, and whether it may.

use crate::text;

/// A layer: its directory under `src`, and those that it may import.
pub(crate) type Layer = (&'static str, &'static [&'static str]);

/// The table, and which submodules of which layer are files that its face does not make public.
pub(crate) struct Rules<'a> {
    pub(crate) layers: &'a [Layer],
    /// Names at the crate's root, and the layers that they are from.
    pub(crate) root_names: &'a [(&'a str, &'a str)],
    /// Layer and submodule.
    pub(crate) private_files: &'a [(String, String)],
}

/// A path from the crate's root, and its line.
#[derive(Debug, PartialEq)]
pub(crate) struct Import {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
}

/// The module path of a file, from its path under `src`: `lock/owner.rs` is `[lock, owner]`, `lock/mod.rs` is `[lock]`.
pub(crate) fn module(file: &str) -> Vec<&str> {
    let path = file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs")).unwrap_or(file);
    path.split('/').collect()
}

/// What is wrong with the imports of `source`, the file at `file` under `src`.
pub(crate) fn check(rules: &Rules<'_>, file: &str, source: &str) -> Vec<String> {
    let module = module(file);
    let own = module[0];
    let Some((_, allowed)) = rules.layers.iter().find(|(name, _)| *name == own) else {
        return vec![format!(
            "src/{file}: `{own}` is no layer: put the file into one, or add one to the table"
        )];
    };
    let code = text::without_macros(&text::without_tests(&text::code(source)));
    let mut wrong = Vec::new();
    for Import { line, path } in imports(&code, &module) {
        let Some(first) = path.first() else { continue };
        let from = rules
            .root_names
            .iter()
            .find(|(name, _)| name == first)
            .map_or(first.as_str(), |(_, layer)| layer);
        if from == own {
            continue;
        }
        if !allowed.contains(&from) {
            let all = allowed.join(", ");
            wrong.push(format!("src/{file}:{line}: `{own}` may not import from `{from}`, only from: {all}"));
        }
        if let Some(second) = path.get(1) {
            if rules.private_files.iter().any(|(layer, file)| layer == from && file == second) {
                wrong.push(format!(
                    "src/{file}:{line}: `{from}::{second}` is an inner file: import what `{from}/mod.rs` shows"
                ));
            }
        }
    }
    wrong
}

/// All paths in `code` that start with `crate`, or with so many `super` that they leave the layer.
pub(crate) fn imports(code: &str, module: &[&str]) -> Vec<Import> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let continued = at > 0 && matches!(tokens[at - 1].1, "::" | "$");
        let root = match tokens[at].1 {
            _ if continued => None,
            "crate" => Some(at + 1),
            "super" => beyond(&tokens, at, module.len()),
            _ => None,
        };
        if let Some(mut next) = root.filter(|&next| word(&tokens, next) == "::") {
            next += 1;
            let mut paths = Vec::new();
            tree(&tokens, &mut next, &mut Vec::new(), &mut paths);
            found.extend(paths.into_iter().map(|path| Import { line: tokens[at].0, path }));
            at = next;
        } else {
            at += 1;
        }
    }
    found
}

/// The place after a chain of `super` that leads from a module `depth` below the root to the root itself.
fn beyond(tokens: &[(usize, &str)], at: usize, depth: usize) -> Option<usize> {
    let end = at + 2 * (depth - 1) + 1;
    let chain = tokens.get(at..end)?;
    chain.iter().enumerate().all(|(place, (_, token))| *token == ["super", "::"][place % 2]).then_some(end)
}

fn word<'a>(tokens: &[(usize, &'a str)], at: usize) -> &'a str {
    tokens.get(at).map_or("", |(_, token)| token)
}

/// Reads what can follow `::`: a name and more, a list in braces, or a star.
fn tree(tokens: &[(usize, &str)], at: &mut usize, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    if word(tokens, *at) == "{" {
        *at += 1;
        while !matches!(word(tokens, *at), "}" | "") {
            let before = *at;
            tree(tokens, at, &mut prefix.clone(), paths);
            while !matches!(word(tokens, *at), "," | "}" | "") {
                *at += 1;
            }
            *at += usize::from(word(tokens, *at) == "," || *at == before);
        }
        *at += 1;
        return;
    }
    let name = word(tokens, *at);
    if name != "self" && (name == "*" || name.bytes().all(text::is_word)) {
        prefix.push(name.to_owned());
        *at += 1;
    }
    if word(tokens, *at) == "::" {
        *at += 1;
        tree(tokens, at, prefix, paths);
    } else {
        paths.push(prefix.clone());
    }
}

/// Words, `::`, and all other visible characters one by one, with their lines.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = match first {
                ':' if rest.starts_with("::") => 2,
                _ if first.is_ascii() && text::is_word(first as u8) => {
                    rest.bytes().position(|b| !text::is_word(b)).unwrap_or(rest.len())
                }
                _ => first.len_utf8(),
            };
            let (token, after) = rest.split_at(len);
            tokens.push((number + 1, token));
            rest = after.trim_start();
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(code: &str, module: &[&str]) -> Vec<String> {
        imports(code, module).iter().map(|import| import.path.join("::")).collect()
    }

    #[test]
    fn every_form_of_a_path_is_seen() {
        let code = "use crate::heap::{Heap, inner::{self, A as B}, c::*};\npub(crate) use crate::x;\n\
                    fn f() -> crate::y::Z<crate::w::V> { crate::v::f::<u8>() }\n#[x] pub(in crate::u) struct S;";
        assert_eq!(
            paths(code, &["lock"]),
            ["heap::Heap", "heap::inner", "heap::inner::A", "heap::c::*", "x", "y::Z", "w::V", "v::f", "u"]
        );
        assert_eq!(imports(code, &["lock"])[4].line, 2);
        assert_eq!(paths("use {crate::a, super::super::b};", &["lock", "owner"]), ["a", "b"]);
    }

    #[test]
    fn super_leads_out_only_past_the_layer() {
        assert_eq!(
            paths("use super::Lock; use super::super::heap::Heap;", &["lock", "owner"]),
            ["heap::Heap"]
        );
        assert_eq!(paths("use super::heap;", &["lock"]), ["heap"]);
        assert_eq!(paths("use super::super::Lock;", &["lock", "deep", "owner"]), Vec::<String>::new());
    }
}
