use std::fmt::Write;

use super::{Quartiles, Table};

const ROW: f64 = 26.0;
const LABELS: f64 = 230.0;
const BARS: f64 = 430.0;
const WIDTH: f64 = 720.0;
/// The highlighted cases are those of this crate.
const OURS: &str = "ours: ";

/// A horizontal bar for what each of these cases of the table adds to the first one: the median of pairs that
/// were measured together, which the pace of the machine changes least.
pub(super) fn draw(table: &Table, names: &[&str]) -> String {
    let medians: Vec<(&str, f64)> =
        names.iter().map(|name| (*name, Quartiles::of(table.added(name)).median)).collect();
    let longest = medians.iter().map(|(_, median)| *median).fold(1.0, f64::max);
    let height = ROW * (medians.len() as f64 + 1.5);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-labelledby=\"title\">\n\
         <title id=\"title\">{title}</title>\n\
         <style>\n\
         text {{ font: 13px system-ui, sans-serif; fill: #24292f }}\n\
         .other {{ fill: #8c959f }} .ours {{ fill: #0969da }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         text {{ fill: #e6edf3 }} .other {{ fill: #6e7681 }} .ours {{ fill: #4493f8 }}\n\
         }}\n\
         </style>\n\
         <text x=\"{LABELS}\" y=\"18\">{title}</text>\n",
        title = "nanoseconds added to one request (shorter is faster)",
    );
    for (index, (name, median)) in medians.iter().enumerate() {
        let top = ROW * (index as f64 + 1.2);
        let (middle, length) = (top + 14.0, median / longest * BARS);
        let class = if name.starts_with(OURS) { "ours" } else { "other" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LABELS}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{}\" class=\"{class}\"/>\n\
             <text x=\"{:.1}\" y=\"{middle:.1}\">{median:.0}</text>",
            LABELS - 8.0,
            escaped(name),
            ROW - 8.0,
            LABELS + length + 6.0,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
