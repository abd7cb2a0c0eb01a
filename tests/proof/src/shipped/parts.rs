use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xtask::build::Shipped;

/// How many crates are named; the rest is one row.
const NAMED: usize = 24;

/// Sections, and functions by the crate whose source they are of: a generic one counts for the crate that wrote it.
pub(super) fn table(built: &Shipped) -> Result<String> {
    let mut page = "| section | bytes |\n|---|---|\n".to_owned();
    let mut sections: Vec<(String, u64)> = lines("size", &["--format=sysv"], &built.program)?
        .iter()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().filter(|name| name.starts_with('.'))?;
            Some((name.to_owned(), words.next()?.parse().ok()?))
        })
        .filter(|(name, _)| name != ".bss" && name != ".tbss")
        .collect();
    sections.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    for (name, bytes) in sections.iter().take(8) {
        writeln!(page, "| `{name}` | {bytes} |")?;
    }
    let mut crates: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines("nm", &["--print-size", "--defined-only"], &built.with_symbols)? {
        let mut words = line.split_whitespace().skip(1);
        let (Some(size), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        let Ok(size) = u64::from_str_radix(size, 16) else { continue };
        if kind.eq_ignore_ascii_case("t") {
            *crates.entry(crate_of(name).unwrap_or("C and assembly").to_owned()).or_default() += size;
        }
    }
    ensure!(crates.len() > NAMED, "the program has no symbols");
    let mut crates: Vec<(String, u64)> = crates.into_iter().collect();
    crates.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    page.push_str("\n| code of | bytes |\n|---|---|\n");
    for (name, bytes) in crates.iter().take(NAMED) {
        writeln!(page, "| {name} | {bytes} |")?;
    }
    let rest: u64 = crates.iter().skip(NAMED).map(|(_, bytes)| bytes).sum();
    writeln!(page, "| {} others | {rest} |", crates.len() - NAMED)?;
    Ok(page)
}

fn lines(program: &str, args: &[&str], of: &Path) -> Result<Vec<String>> {
    let output =
        Command::new(program).args(args).arg(of).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The first crate that a symbol of Rust's names: `C`, perhaps `s` and a disambiguator up to `_`, the length, the name.
fn crate_of(symbol: &str) -> Option<&str> {
    let path = symbol.strip_prefix("_R")?;
    path.match_indices('C').find_map(|(at, _)| {
        let mut rest = &path[at + 1..];
        if let Some(numbered) = rest.strip_prefix('s') {
            let (number, after) = numbered.split_once('_')?;
            if !number.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return None;
            }
            rest = after;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let length: usize = rest.get(..digits)?.parse().ok()?;
        let name = rest.get(digits..)?;
        // A name that begins with a digit or `_` is set off by one.
        let name = name.strip_prefix('_').unwrap_or(name);
        let name = name.get(..length)?;
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_name_their_crate() {
        for (symbol, expected) in [
            ("_RNvCsfLfy6EI15iL_7___rustc35___rust_no_alloc_shim_is_unstable_v2", Some("__rustc")),
            ("_RNvNtCsjrHSEGnQ3l9_3std9panicking12default_hook", Some("std")),
            ("_RNvMs_NtCs1234_7mycrate3fooNtB4_3Bar3baz", Some("mycrate")),
            ("_RINvNtC3std3mem8align_ofNtNtC8mycrate3foo3BarE", Some("std")),
            ("memcpy", None),
        ] {
            assert_eq!(crate_of(symbol), expected, "{symbol}");
        }
    }
}
