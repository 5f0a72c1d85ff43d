//! Floating-point numbers as C prints them.

use super::field::pad;
use super::template::Width;

/// `%f` and `%d` of a template: C's `%*.*f`.
pub(super) fn fixed(out: &mut Vec<u8>, width: Width, value: f64) {
    if !value.is_finite() {
        // C does not fill these up with zeros.
        return pad(out, width, false, special(value).as_bytes());
    }
    let precision = width.precision.unwrap_or(6);
    let text = format!("{value:.precision$}");
    match text.strip_prefix('-') {
        Some(digits) if width.zero && !width.left => {
            out.push(b'-');
            let width = Width { width: width.width.saturating_sub(1), ..width };
            pad(out, width, true, digits.as_bytes());
        }
        _ => pad(out, width, width.zero, text.as_bytes()),
    }
}

/// C's `%.*g`: `digits` significant ones, the shorter of the two notations, no zeros at the end.
pub(super) fn general(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return special(value).to_owned();
    }
    let digits = digits.max(1);
    // The exponent after rounding decides, so it is taken from the rounded number.
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{value:.decimals$}")).to_owned()
}

fn trim(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

const fn special(value: f64) -> &'static str {
    if value.is_nan() {
        "nan"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_is_cs_g() {
        for (value, digits, text) in [
            (0.0, 15, "0"),
            (1.5, 15, "1.5"),
            (0.0001, 15, "0.0001"),
            (0.00001, 15, "1e-05"),
            (1e15, 15, "1e+15"),
            (123_456_789_012_345.0, 15, "123456789012345"),
            (999_999_999_999_999.9, 15, "1e+15"),
            (std::f64::consts::PI, 17, "3.1415926535897931"),
            (-1.5e300, 15, "-1.5e+300"),
            (5e-324, 15, "4.94065645841247e-324"),
        ] {
            assert_eq!(general(value, digits), text);
        }
    }
}
