//! ADD over leases, both on logarithmic scales, as an SVG.

use std::fmt::Write;

use crate::latency::Latency;
use crate::markdown::{count, micros};
use crate::site::Program;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top and bottom of the plot itself.
const FRAME: [f64; 4] = [80.0, 640.0, 40.0, 360.0];

/// From 100 µs to 10 s.
const DECADES: [f64; 2] = [2.0, 7.0];

const LINES: [(Program, &str); 4] = [
    (Program::HostLocal, "#c0392b"),
    (Program::Ours, "#1f618d"),
    (Program::Floor, "#7f8c8d"),
    (Program::Empty, "#bdc3c7"),
];

/// No leases have a place too: left of one.
fn x(leases: u32) -> f64 {
    let place = if leases == 0 { 1.4 } else { f64::from(leases).log10() };
    FRAME[0] + (place - 1.4) / (6.0 - 1.4) * (FRAME[1] - FRAME[0])
}

fn y(micros: f64) -> f64 {
    let place = (micros.max(1.0).log10() - DECADES[0]) / (DECADES[1] - DECADES[0]);
    FRAME[3] - place * (FRAME[3] - FRAME[2])
}

/// The whole file.
pub(crate) fn svg(latency: &Latency) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"22\" font-size=\"14\">ADD by leases: one process, from its start to its \
         end (median)</text>\n",
        FRAME[0]
    );
    let [left, right, _, bottom] = FRAME;
    for decade in 2..=7_i32 {
        let value = 10_f64.powi(decade);
        let at = y(value);
        let _ = write!(
            svg,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            left - 8.0,
            at + 4.0,
            label(value),
        );
    }
    for leases in [0, 250, 1_000, 10_000, 60_000, 250_000, 1_000_000] {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(leases),
            bottom + 20.0,
            count(leases)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">leases held</text>",
        f64::midpoint(left, right),
        bottom + 42.0
    );
    for (program, colour) in LINES {
        let points = latency.line(program);
        let path: Vec<_> =
            points.iter().map(|(at, took)| format!("{:.1},{:.1}", x(*at), y(*took))).collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            path.join(" ")
        );
        for point in &path {
            if let Some((at, took)) = point.split_once(',') {
                let _ =
                    writeln!(svg, "<circle cx=\"{at}\" cy=\"{took}\" r=\"3\" fill=\"{colour}\"/>");
            }
        }
        if let Some((at, took)) = points.last() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{} {}</text>",
                x(*at) + 8.0,
                y(*took) + 4.0,
                program.name(),
                micros(*took)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn label(micros: f64) -> String {
    match micros {
        value if value >= 1e6 => format!("{:.0} s", value / 1e6),
        value if value >= 1e3 => format!("{:.0} ms", value / 1e3),
        value => format!("{value:.0} µs"),
    }
}
