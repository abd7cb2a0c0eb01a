//! CoreDNS' own reader (coredns/caddy `caddyfile/lexer.go`, `parse.go`): tokens, blocks, directives.

use std::ops::Range;

use super::{Block, CorefileError, Directive};

#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
    /// The line its last character stands on: a quoted token may hold line breaks.
    last_line: usize,
    span: Range<usize>,
}

/// The blocks of a text.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, CorefileError> {
    Parser { tokens: &tokens(text), at: 0 }.blocks()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut line = 1;
    let mut open: Option<Token> = None;
    let (mut comment, mut quoted, mut escaped) = (false, false, false);
    for (at, c) in text.char_indices() {
        if at == 0 && c == '\u{feff}' {
            continue;
        }
        let end = at + c.len_utf8();
        if quoted {
            let Some(token) = &mut open else { continue };
            token.span.end = end;
            if !escaped && c == '\\' {
                escaped = true;
                continue;
            }
            if !escaped && c == '"' {
                quoted = false;
                token.last_line = line;
                out.extend(open.take());
                continue;
            }
            if c == '\n' {
                line += 1;
            }
            if escaped && c != '"' {
                token.text.push('\\');
            }
            token.text.push(c);
            escaped = false;
        } else if c.is_whitespace() {
            if c == '\r' {
                continue;
            }
            if let Some(token) = open.take() {
                out.push(token);
            }
            if c == '\n' {
                line += 1;
                comment = false;
            }
        } else {
            comment |= c == '#';
            if comment {
                continue;
            }
            let token = open.get_or_insert_with(|| Token { text: String::new(), line, last_line: line, span: at..end });
            token.span.end = end;
            if token.text.is_empty() && c == '"' {
                quoted = true;
            } else {
                token.text.push(c);
            }
        }
    }
    if let Some(mut token) = open
        && !token.text.is_empty()
    {
        token.last_line = line;
        out.push(token);
    }
    out
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn blocks(mut self) -> Result<Vec<Block>, CorefileError> {
        let mut blocks = Vec::new();
        while self.at < self.tokens.len() {
            blocks.push(self.block()?);
        }
        Ok(blocks)
    }

    fn starts_line(&self) -> bool {
        match (self.at.checked_sub(1).and_then(|b| self.tokens.get(b)), self.tokens.get(self.at)) {
            (Some(before), Some(token)) => before.last_line < token.line,
            _ => true,
        }
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, CorefileError> {
        let line = self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.line);
        Err(CorefileError { line, what: what.into() })
    }

    fn block(&mut self) -> Result<Block, CorefileError> {
        let first = &self.tokens[self.at];
        let (line, begin) = (first.line, first.span.start);
        let mut block = Block { keys: Vec::new(), directives: Vec::new(), line, begin, contents: 0, braces: false };
        let mut another = false;
        while let Some(token) = self.tokens.get(self.at) {
            if token.text == "{" {
                if another {
                    return self.fail("another address is expected after the comma, not `{`");
                }
                break;
            }
            if !block.keys.is_empty() && !another && self.starts_line() {
                break;
            }
            if token.text == "import" && self.starts_line() {
                // What a file brings in cannot be known here: the import stands as a block of its own.
                let directive = self.directive()?;
                block.contents = directive.span.end;
                block.directives.push(directive);
                return Ok(block);
            }
            if token.text == "}" {
                return self.fail("`}` closes nothing");
            }
            let key = token.text.strip_suffix(',');
            another = key.is_some();
            block.keys.push(key.unwrap_or(&token.text).to_owned());
            block.contents = token.span.end;
            self.at += 1;
        }
        if block.keys.is_empty() {
            return self.fail("`{` opens a block that has no address");
        }
        if another {
            return self.fail("the file ends after a comma where another address is expected");
        }
        let Some(brace) = self.tokens.get(self.at).filter(|t| t.text == "{") else {
            return self.without_braces(block);
        };
        block.contents = brace.span.end;
        block.braces = true;
        self.at += 1;
        loop {
            match self.tokens.get(self.at) {
                None => return self.fail(format!("the block opened on line {} is not closed", brace.line)),
                Some(t) if t.text == "}" => break,
                Some(_) => {
                    let directive = self.directive()?;
                    block.directives.push(directive);
                }
            }
        }
        self.at += 1;
        Ok(block)
    }

    /// The contents of a lone server block whose braces are left out: everything to the end.
    fn without_braces(&mut self, mut block: Block) -> Result<Block, CorefileError> {
        if block.snippet().is_some() {
            return self.fail("a snippet needs braces");
        }
        while let Some(token) = self.tokens.get(self.at) {
            if token.text == "}" {
                return self.fail("`}` closes nothing");
            }
            let directive = self.directive()?;
            block.directives.push(directive);
        }
        Ok(block)
    }

    fn directive(&mut self) -> Result<Directive, CorefileError> {
        let name = &self.tokens[self.at];
        if name.text == "{" {
            return self.fail("`{` stands where a directive is expected");
        }
        let mut directive = Directive {
            name: name.text.clone(),
            args: Vec::new(),
            on_line: 0,
            line: name.line,
            span: name.span.clone(),
        };
        let mut nesting = 0_usize;
        let mut first_line = true;
        self.at += 1;
        while let Some(token) = self.tokens.get(self.at) {
            first_line &= !self.starts_line();
            match token.text.as_str() {
                "{" => nesting += 1,
                _ if self.starts_line() && nesting == 0 => return Ok(directive),
                "}" if nesting > 0 => nesting -= 1,
                "}" => return self.fail("`}` closes nothing that was opened before it on its line"),
                _ => {}
            }
            directive.args.push(token.text.clone());
            directive.on_line += usize::from(first_line);
            directive.span.end = token.span.end;
            self.at += 1;
        }
        if nesting > 0 {
            return self
                .fail(format!("the block of `{}` opened on line {} is not closed", directive.name, directive.line));
        }
        Ok(directive)
    }
}
