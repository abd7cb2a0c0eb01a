//! Kubernetes quantities, as far as adding and comparing them needs.

/// A quantity as a number, or `None` where the text is not one (apimachinery `pkg/api/resource/quantity.go`).
pub fn parse(text: &str) -> Option<f64> {
    let end = text
        .char_indices()
        .find(|(i, c)| {
            let exponent = matches!(c, 'e' | 'E')
                && text[i + 1..].starts_with(|n: char| n.is_ascii_digit() || n == '-' || n == '+');
            let signed = matches!(c, '+' | '-') && (*i == 0 || text[..*i].ends_with(['e', 'E']));
            !(c.is_ascii_digit() || *c == '.' || exponent || signed)
        })
        .map_or(text.len(), |(i, _)| i);
    let number: f64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let table = [
            ("1", 1.0),
            ("250m", 0.25),
            ("1Gi", 1_073_741_824.0),
            ("512Mi", 536_870_912.0),
            ("2k", 2000.0),
            ("1e3", 1000.0),
            ("1.5", 1.5),
            ("100E", 1e20),
            ("0", 0.0),
        ];
        for (text, value) in table {
            let parsed = parse(text).unwrap();
            assert!((parsed - value).abs() <= value.abs() * 1e-12, "{text}: {parsed}");
        }
        for text in ["", "x", "1x", "Mi", "1 Gi"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
