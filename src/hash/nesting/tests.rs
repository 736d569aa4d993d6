use std::thread;

use super::*;
use crate::hash::tracking::{stack_size, token_string};

/// Where a chain stands, what its innermost link holds, and links; `·` is where the next link goes.
struct Place {
    before: &'static str,
    innermost: &'static str,
    after: &'static str,
    links: &'static [&'static str],
}

/// All that syn recurses into.
#[rustfmt::skip] // a table
const CHAINS: &[Place] = &[
    Place {
        before: "fn f() { let _ = ",
        innermost: "x",
        after: "; }",
        links: &[
            // Operators.
            "!·", "- ·", "*·", "&·", "&mut ·", "&raw const ·", "a + ·", "· + a", "a * b + ·", "a = ·", "a += ·",
            "a && ·", "a || ·", "a | ·", "a == b && ·", "a < b && ·", "a > b && ·", "a << ·", "a >> ·", "..= ·",
            // Calls and the like.
            "·.a()", "·.a", "·.0", "·?", "·.await", "·[0]", "·()", "f(·)", "f(a, ·)", "a[·]", "a.f(·)",
            "a.f::<u8>(·)", "m!{}.a(·)", "unsafe {}.a(·)", "m!{} (·)", "a != (·)", "· as A", "· as m!{}",
            "· as fn() -> A", "A::<·>::A", "A::<u8, ·>::A", "A::<{·}>::A", "<· as A>::A",
            "<<A as A>::A as B<u8, ·>>::A",
            // Blocks.
            "{·}", "{x; ·}", "unsafe {·}", "async {·}", "const {·}", "try {·}", "loop {·}", "'a: {·}", "while x {·}",
            "while · {}", "for x in x {·}", "for x in · {}", "for m!{} in · {}", "for A {} | B in · {}", "if x {·}",
            "if {·} {}", "if · {}", "if x {} else {·}", "if let x = · {}", "if let m!{} = · {}", "if let A {} = · {}",
            "match · {}", "match x {_ => ·}", "match x {_ if · => x}", "match x {A {} => {} _ => ·}",
            "match x {A | B {} => {}.f(·)}", "match x {a => |b, c| ·, _ => x}", "match {·} {_ => x}",
            // Lists.
            "(·)", "(a, ·)", "[·]", "[a, ·]", "[·; 1]", "S {a: ·}", "S {a, b: ·}", "S {..·}",
            // Jumps.
            "return ·", "break ·", "break 'a ·", "yield ·", "return !(·)", "break 'a !(·)",
            // Closures, where commas of parameters and those of lists are told apart.
            "||·", "|a|·", "|a, b|·", "|a, b| {·}", "|a| -> A {·}", "move |a, b| ·", "async move |a, b| ·",
            "static |a, b| ·", "for<'a> |a, b| ·", "|a: A<B, C>, b| ·", "|a: [u8; ·]| x", "|S {}, m!{}| ·",
            "#[a] |a, b| ·", "/** a */ |a, b| ·", "!|a, b| ·", "..|a, b|·", "return |a, b| ·", "break 'a |a, b| ·",
            "break 'r#a |a, b| ·", "x | |a, b| ·", "x || |a, b| ·", "a < b && c > |a, b| ·", "a as A<B> | |a, b| ·",
            "a as ! | |a, b| ·", "m!{} | |a, b| ·", "S {} | |a, b| ·", "true | |a, b| ·", "1. | |a, b| ·",
            "x? | |a, b| ·", "r#a | |a, b| ·", "if let | A = |a, b| · {}", "if let 0.. | A = |a, b| · {}",
            "for | A in |a, b| · {}",
            // Items within expressions.
            "{let x = ·;}", "{let x = y else {·};}", "{let x: [u8; ·];}", "{fn f() {·}}", "{const A: u8 = ·;}",
            "{static A: u8 = ·;}", "{struct A {a: [u8; ·]}}", "{enum A {A = ·}}", "{impl A {fn f() {·}}}",
            "{impl A {const A: u8 = ·;}}", "{trait A {fn f() {·}}}", "{mod a {fn f() {·}}}", "{#[a] {·}}",
            // Macros, whose arguments nest in proc-macro2 alone.
            "m!(·)", "m![·]", "{m!{·}}", "r#if!(·)", "{macro_rules! a {·}}",
        ],
    },
    Place { before: "fn f() { ", innermost: "{}", after: " }", links: &["if x {} else ·", "if let m!{} = x {} else ·"] },
    Place {
        before: "type A = ",
        innermost: "x",
        after: ";",
        links: &[
            "&·", "&'a mut ·", "*const ·", "(·)", "(u8, ·)", "[·]", "[·; 1]", "[u8; {let x: ·;}]", "A<·>", "A<u8, ·>",
            "A<'a, {1}, -1, ·>", "A<B = ·>", "A<B: A, ·>", "A<B: C<u8, ·>>", "A<fn(a, b) -> c, ·>", "A<(·)>", "impl A<·>",
            "dyn A<u8, ·>", "dyn A + B<u8, ·>", "fn() -> ·", "fn(·)", "fn(a: ·)", "for<'a, 'b> fn() -> ·",
            "unsafe extern \"C\" fn() -> ·", "impl Fn() -> ·", "impl Fn(·) -> u8", "impl for<'a, 'b> Fn() -> ·",
            "<· as A>::B", "<m!{} as A>::B<u8, ·>", "m!(·)",
        ],
    },
    Place {
        before: "fn f() { let ",
        innermost: "x",
        after: " = x; }",
        links: &[
            "&·", "&mut ·", "x @ ·", "(·)", "(x, ·)", "[·]", "[.., ·]", "A(·)", "A {a: ·}", "(A | ·)", "A::<u8, ·>::A",
            "m!(·)", "const {·}",
        ],
    },
    Place { before: "use ", innermost: "a", after: ";", links: &["a::·", "a::{·}", "{b, ·}", "{·}"] },
    Place {
        before: "",
        innermost: "",
        after: "",
        links: &[
            "mod a {·}", "fn f() {·}", "impl A {fn f() {·}}", "trait A {fn f() {·}}", "struct A<T = B<[u8; {·}]>>;",
        ],
    },
];

impl Place {
    fn text(&self, link: &str, count: usize) -> String {
        let (opening, closing) = link.split_once('·').unwrap();
        let Self { before, innermost, after, .. } = self;
        format!("{before}{}{innermost}{}{after}", opening.repeat(count), closing.repeat(count))
    }
}

#[test]
fn a_chain_of_any_kind_fits_the_stack_of_its_levels() {
    const LEVELS: usize = 300;
    for place in CHAINS {
        for link in place.links {
            let levels_of = |count| levels(&place.text(link, count)).unwrap();
            let count = 10 + (LEVELS - levels_of(10)) / (levels_of(11) - levels_of(10));
            let text = place.text(link, count);
            let levels = levels_of(count);
            assert!(levels > LEVELS - 50, "{count} times {link:?} count as {levels} levels only");
            let parse = thread::Builder::new().stack_size(stack_size(levels)).spawn(move || token_string(&text));
            let parsed = parse.unwrap().join().unwrap();
            assert!(parsed.is_ok(), "{count} times {link:?}: {parsed:?}");
        }
    }
}

#[test]
fn a_chain_of_any_kind_that_is_too_long_is_refused() {
    for place in CHAINS {
        for link in place.links {
            let error = levels(&place.text(link, 100_000)).expect_err(link);
            assert_eq!(error.message, "nested too deeply");
        }
    }
}

#[test]
fn lists_of_any_length_are_shallow() {
    const COUNT: usize = 1_000;
    let in_function = |body: &str| format!("fn f() {{ {} }}", body.repeat(COUNT));
    let in_list = |element: &str| format!("fn f() {{ g(&[{}]); }}", element.repeat(COUNT));
    let in_match = |arm: &str| format!("fn f() {{ match x {{ {} }} }}", arm.repeat(COUNT));
    let in_struct = |field: &str| format!("struct S {{ {} }}", field.repeat(COUNT));
    let items = |item: &str| item.repeat(COUNT);
    let texts = [
        in_function("x.f();"),
        in_function("let a = b < c; "),
        in_function("if a < b {} "),
        in_function("if a {} else {} "),
        in_function("for a in b {} "),
        in_function("m!{} "),
        in_function("'a: loop {} "),
        in_function("{ x } #[a] y; "),
        in_list("x, "),
        in_list("('a', \"b\"), "),
        in_list("A | B, "),
        in_list("A | B | C, "),
        in_list("a || b, "),
        in_list("a <= b, "),
        in_list("|a, b| a, "),
        in_list("|a, b| a | b, "),
        in_list("-1.5e-3, "),
        in_list("S { a: b }, "),
        in_list("Vec::<A<B>>::new(), "),
        in_list("m!(a < b), "),
        in_match("A {} | B {} => x, "),
        in_match("| A | B if c => x, "),
        in_match("A {} => {} "),
        in_match("(a, b) => {} "),
        in_match("&[a] => {} "),
        in_match("1 | 2 => |a, b| a, "),
        in_struct("/// a\na: Vec<A<B, C>>, "),
        in_struct("a: fn(A) -> B, "),
        items("/// a\n") + "fn f() {}",
        items("use a::b;"),
        items("fn f() {}"),
        items("#[a] pub fn f() {} "),
        items("impl<A: B<C>> D for E<A> {}"),
        items("m! {} "),
        format!("m!{{ {} }}", "!!a < | b { c } ".repeat(COUNT)),
    ];
    for text in texts {
        let start: String = text.chars().take(60).collect();
        let levels = levels(&text).unwrap();
        assert!(levels < 30, "{levels} levels: {start}");
        let parse = thread::Builder::new().stack_size(stack_size(levels)).spawn(move || token_string(&text));
        let parsed = parse.unwrap().join().unwrap();
        assert!(parsed.is_ok(), "{start}: {}", parsed.unwrap_err());
    }
}

#[test]
fn what_looks_like_nesting_within_literals_and_comments_is_none() {
    for text in
        ["\"((((\"", "r#\"((\"((\"#", "b\"((\\\"((\"", "'('", "b'('", "// ((((", "/* (( /* (( */ (( */", "/// (((("]
    {
        assert!(levels_within(text, 1).is_ok(), "{text}");
    }
    assert!(levels_within("'a(((('b((((", 3).is_err());
}

#[test]
fn the_error_says_where_the_limit_is_passed() {
    let error = levels_within("// é\nfn f() {\n  é(((1)))\n}", 6).unwrap_err();
    assert_eq!((error.line, error.column), (3, 5));
    let error = levels_within("((((", 3).unwrap_err();
    assert_eq!((error.line, error.column), (1, 4));
}

#[test]
fn a_text_that_does_not_lex_is_left_to_the_lexer() {
    for text in [")", "())(", "\"", "'", "/*", "r#\"", "b'", "\\", "'\\", "\"\\", "{]", "\u{feff}\u{feff}"] {
        assert!(levels(text).is_ok(), "{text}");
        assert!(text.parse::<proc_macro2::TokenStream>().is_err(), "{text}");
    }
}
