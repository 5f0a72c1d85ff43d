//! How long functions are.

use super::{Finding, Tree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Lines from a function's signature to its closing brace, at most.
const LINES_MAX: usize = 70;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if let Some(rust) = &file.rust {
            let mut long = Long { path: &file.path, findings: &mut findings };
            long.visit_file(rust);
        }
    }
    findings
}

struct Long<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Long<'_> {
    fn check(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line - first + 1;
        if lines > LINES_MAX {
            let what = format!("{} has {lines} lines of {LINES_MAX}", signature.ident);
            let rule = format!("function-length:{}", signature.ident);
            self.findings.push(Finding::new(self.path, first, &rule, what));
        }
    }
}

impl<'ast> Visit<'ast> for Long<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.check(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_function_are_counted_wherever_it_stands() {
        let function =
            |lines: usize| format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
        for wrap in ["{}", "impl A {\n{}}\n", "trait A {\n{}}\n", "mod a {\n{}}\n"] {
            let source = |lines| wrap.replace("{}", &function(lines));
            assert_eq!(check(&Tree::of(&[("a.rs", &source(LINES_MAX))])), []);
            let findings = check(&Tree::of(&[("a.rs", &source(LINES_MAX + 1))]));
            let rules: Vec<_> = findings.iter().map(|finding| &*finding.rule).collect();
            assert_eq!(rules, ["function-length:long"]);
        }
    }
}
