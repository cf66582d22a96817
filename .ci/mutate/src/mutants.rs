//! What is changed: operators, the values of functions, arms and guards of matches.

use std::collections::HashSet;
use std::fmt::Write;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ReturnType, Type, UnOp};

use crate::edits::Edits;

pub struct Mutants<'a> {
    path: &'a str,
    text: &'a str,
    without: &'a HashSet<String>,
    pub number: usize,
    pub names: String,
    pub edits: Edits,
    /// The functions, and what they are of, around what is looked at.
    around: Vec<String>,
    depth: isize,
}

/// The operators that may stand in the place of one.
fn instead_of(operator: &BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">", "<"],
        BinOp::Ge(_) => &["<", ">"],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::DivAssign(_) => &["%=", "*="],
        BinOp::RemAssign(_) => &["/=", "+="],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::ShrAssign(_) => &["<<="],
        BinOp::BitAndAssign(_) => &["|=", "^="],
        BinOp::BitOrAssign(_) => &["&=", "^="],
        BinOp::BitXorAssign(_) => &["|=", "&="],
        _ => &[],
    }
}

/// Values of a type that a function may give instead of its own.
fn values(of: &Type) -> Vec<String> {
    let Type::Path(path) = of else {
        return match of {
            Type::Ptr(pointer) if pointer.mutability.is_some() => vec!["core::ptr::null_mut()".into()],
            Type::Ptr(_) => vec!["core::ptr::null()".into()],
            Type::Tuple(tuple) if tuple.elems.is_empty() => vec!["()".into()],
            Type::Tuple(tuple) => {
                let all: Vec<_> = tuple.elems.iter().map(values).collect();
                let each = |pick: fn(&Vec<String>) -> Option<&String>| {
                    let some: Option<Vec<_>> = all.iter().map(pick).collect();
                    some.map(|some| {
                        format!("({})", some.iter().map(|value| format!("{value},")).collect::<String>())
                    })
                };
                let mut both: Vec<_> = [each(|values| values.first()), each(|values| values.last())]
                    .into_iter()
                    .flatten()
                    .collect();
                both.dedup();
                both
            }
            _ => vec![],
        };
    };
    let Some(last) = path.path.segments.last() else { return vec![] };
    let inner: Vec<&Type> = match &last.arguments {
        syn::PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .filter_map(|argument| match argument {
                syn::GenericArgument::Type(inner) => Some(inner),
                _ => None,
            })
            .collect(),
        _ => vec![],
    };
    let of_inner = |wrap: &str| {
        inner
            .first()
            .map(|inner| values(inner))
            .unwrap_or_default()
            .into_iter()
            .map(|value| format!("{wrap}({value})"))
            .collect::<Vec<_>>()
    };
    match last.ident.to_string().as_str() {
        "bool" => vec!["true".into(), "false".into()],
        "usize" | "u8" | "u16" | "u32" | "u64" | "u128" => vec!["0".into(), "1".into()],
        "isize" | "i8" | "i16" | "i32" | "i64" => vec!["0".into(), "1".into(), "-1".into()],
        "Option" => [vec!["None".into()], of_inner("Some")].concat(),
        "Result" => {
            let error = match inner.get(1) {
                Some(Type::Path(error)) if error.path.is_ident("AllocError") => {
                    vec!["Err(AllocError)".into()]
                }
                _ => vec![],
            };
            [error, of_inner("Ok")].concat()
        }
        "NonNull" => vec!["core::ptr::NonNull::dangling()".into()],
        "AllocResult" => vec!["Err(crate::AllocError)".into()],
        _ => vec![],
    }
}

/// Whether an arm takes all that is left.
fn is_other(arm: &syn::Arm) -> bool {
    matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none()
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

fn place(of: &impl Spanned) -> Range<usize> {
    of.span().byte_range()
}

impl<'a> Mutants<'a> {
    pub fn new(path: &'a str, text: &'a str, without: &'a HashSet<String>, number: usize) -> Self {
        let (names, edits) = (String::new(), Edits::default());
        Mutants { path, text, without, number, names, edits, around: vec![], depth: 0 }
    }

    /// A number for a change, unless it is left out: the condition under which it is made.
    fn number(&mut self, at: proc_macro2::Span, what: &str) -> Option<String> {
        let start = at.start();
        let function = self.around.join("::");
        let name = format!("{}\t{}:{}\t{function}\t{what}", self.path, start.line, start.column + 1);
        if self.without.contains(&name) {
            return None;
        }
        self.number += 1;
        writeln!(self.names, "{}\t{name}", self.number).unwrap();
        Some(format!("crate::mutant::is({})", self.number))
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block, run: impl FnOnce(&mut Self)) {
        self.around.push(signature.ident.to_string());
        let mut text = String::new();
        let mut all = match &signature.output {
            ReturnType::Default => vec!["()".to_owned()],
            ReturnType::Type(_, of) => values(of),
        };
        if matches!(signature.ident.to_string().as_str(), "fmt") {
            all.clear();
        }
        if body.stmts.is_empty() {
            all.clear();
        }
        for value in all {
            // What it gives anyway.
            let own = &self.text[place(body)];
            if own.trim_matches(['{', '}', ' ', '\n']) == value {
                continue;
            }
            if let Some(chosen) = self.number(signature.ident.span(), &format!("give {value}")) {
                write!(text, " if {chosen} {{ return {value}; }}").unwrap();
            }
        }
        if !text.is_empty() {
            let brace = body.brace_token.span.open().byte_range().end;
            self.edits.begin(brace, -100, text);
        }
        run(self);
        self.around.pop();
    }

    /// `l` and `r` are both sides; gives what chooses among the operators.
    fn choices(&mut self, operator: &BinOp, way: impl Fn(&str) -> String) -> Option<String> {
        let own = &self.text[place(operator)];
        let mut text = String::new();
        for other in instead_of(operator) {
            if let Some(chosen) = self.number(operator.span(), &format!("{own} becomes {other}")) {
                write!(text, "if {chosen} {{ {} }} else ", way(other)).unwrap();
            }
        }
        (!text.is_empty()).then(|| format!("{text}{{ {} }}", way(own)))
    }

    fn binary(&mut self, binary: &syn::ExprBinary) {
        let (whole, left, right) = (place(binary), place(&*binary.left), place(&*binary.right));
        let (between, depth) = (left.end..right.start, self.depth);
        match &binary.op {
            BinOp::And(_) | BinOp::Or(_) => {
                let own = &self.text[place(&binary.op)];
                let other = instead_of(&binary.op)[0];
                if let Some(chosen) = self.number(binary.op.span(), &format!("{own} becomes {other}")) {
                    let as_right = if own == "&&" { "!=" } else { "==" };
                    self.edits.begin(whole.start, depth, "(match ");
                    self.edits.replace(between, format!(" {{ l => if l {as_right} {chosen} {{ "));
                    self.edits.end(whole.end, depth, " } else { l } })");
                }
            }
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Gt(_) | BinOp::Le(_) | BinOp::Ge(_) => {
                if let Some(text) = self.choices(&binary.op, |operator| format!("*l {operator} *r")) {
                    self.edits.begin(whole.start, depth, "(match (&(");
                    self.edits.replace(between, "), &(");
                    self.edits.end(whole.end, depth, format!(")) {{ (l, r) => {text} }})"));
                }
            }
            operator if instead_of(operator).iter().any(|other| other.ends_with('=')) => {
                let target = self.text[left].to_owned();
                let way = |operator: &str| format!("{target} {operator} r");
                if let Some(text) = self.choices(operator, way) {
                    self.edits.replace(whole.start..right.start, "match ");
                    self.edits.end(whole.end, depth, format!(" {{ r => {text} }}"));
                    // The target stands there as it was.
                    return self.visit_expr(&binary.right);
                }
            }
            operator => {
                if let Some(text) = self.choices(operator, |operator| format!("l {operator} r")) {
                    self.edits.begin(whole.start, depth, "(match (");
                    self.edits.replace(between, ", ");
                    self.edits.end(whole.end, depth, format!(") {{ (l, r) => {text} }})"));
                }
            }
        }
        visit::visit_expr_binary(self, binary);
    }

    fn unary(&mut self, unary: &syn::ExprUnary) {
        if let UnOp::Not(_) | UnOp::Neg(_) = unary.op {
            let (whole, own, depth) = (place(unary), place(&unary.op), self.depth);
            let sign = &self.text[own.clone()];
            if let Some(chosen) = self.number(unary.op.span(), &format!("without {sign}")) {
                self.edits.begin(whole.start, depth, "(");
                self.edits.replace(own, "match ");
                self.edits.end(
                    whole.end,
                    depth,
                    format!(" {{ v => if {chosen} {{ v }} else {{ {sign}v }} }})"),
                );
            }
        }
        visit::visit_expr_unary(self, unary);
    }

    fn arms(&mut self, matching: &syn::ExprMatch) {
        let others = matching.arms.iter().any(is_other);
        for arm in &matching.arms {
            let has_let = matches!(&arm.guard, Some((_, guard)) if matches!(**guard, Expr::Let(_)));
            if has_let {
                continue;
            }
            let gone =
                if others && !is_other(arm) { self.number(arm.pat.span(), "without this arm") } else { None };
            match &arm.guard {
                None => {
                    if let Some(gone) = gone {
                        self.edits.end(place(&arm.pat).end, 500, format!(" if !{gone}"));
                    }
                }
                Some((_, guard)) => {
                    let mut text = gone.map_or(String::new(), |gone| format!("!{gone} && "));
                    if let Some(always) = self.number(guard.span(), "guard becomes true") {
                        write!(text, "({always} || ").unwrap();
                    } else {
                        text.push('(');
                    }
                    if let Some(never) = self.number(guard.span(), "guard becomes false") {
                        write!(text, "!{never} && ").unwrap();
                    }
                    self.edits.begin(place(&**guard).start, -500, text + "(");
                    self.edits.end(place(&**guard).end, -500, "))");
                }
            }
        }
        visit::visit_expr_match(self, matching);
    }
}

impl<'ast> Visit<'ast> for Mutants<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block, |this| this.visit_block(&item.block));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block, |this| this.visit_block(&item.block));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body, |this| this.visit_block(body));
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if is_test(&item.attrs) {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        self.around.push(name.unwrap_or_else(|| "impl".into()));
        item.items.iter().for_each(|item| self.visit_impl_item(item));
        self.around.pop();
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    // What a compiler evaluates.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_generics(&mut self, _: &'ast syn::Generics) {}
    fn visit_variant(&mut self, _: &'ast syn::Variant) {}
    fn visit_angle_bracketed_generic_arguments(&mut self, _: &'ast syn::AngleBracketedGenericArguments) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        self.depth += 1;
        match expr {
            Expr::Binary(binary) => self.binary(binary),
            Expr::Unary(unary) => self.unary(unary),
            Expr::Match(matching) => self.arms(matching),
            _ => visit::visit_expr(self, expr),
        }
        self.depth -= 1;
    }
}
