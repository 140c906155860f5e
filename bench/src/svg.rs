//! Plots as SVG text: lines over a linear or logarithmic axis, and bars. Enough for the pages of docs/benchmarks.
//!
//! Takes named series, gives a whole SVG document that reads on light and dark ground. Our own, since a plotting crate
//! brings fonts and rasters for what is a hundred lines of text.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 64.0;
/// Told apart by people who see colours otherwise, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const GREY: &str = "#808080";

/// One line of a plot.
#[derive(Debug, Clone)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its points, x rising.
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Above the plot.
    pub title: String,
    /// Below the x axis.
    pub x: String,
    /// Beside the y axis.
    pub y: String,
    /// Where the x axis has its marks, with their texts; positions are those of the points.
    pub x_marks: Vec<(f64, String)>,
    /// Whether y is logarithmic.
    pub y_log: bool,
    /// The lines.
    pub series: Vec<Series>,
}

/// A plot of bars from zero.
#[derive(Debug, Clone)]
pub struct Bars {
    /// Above the plot.
    pub title: String,
    /// Beside the y axis.
    pub y: String,
    /// A name and a value each.
    pub bars: Vec<(String, f64)>,
    /// A line across at this height, with its name: a target.
    pub line: Option<(f64, String)>,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn open(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{GREY}\">\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
        escaped(title)
    )
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(content));
}

fn rule(out: &mut String, from: (f64, f64), to: (f64, f64), dashed: bool) {
    let dash = if dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{GREY}\" stroke-opacity=\"0.5\"{dash}/>",
        from.0, from.1, to.0, to.1
    );
}

/// A y axis: its range, and how values become heights.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, log: bool) -> Self {
        let high = values.clone().fold(0.0_f64, f64::max);
        let high = if high > 0.0 { high } else { 1.0 };
        if !log {
            return Self { low: 0.0, high: high * 1.08, log };
        }
        let low = values.filter(|value| *value > 0.0).fold(high, f64::min);
        Self { low: 10_f64.powf(low.log10().floor()), high: 10_f64.powf((high * 1.05).log10().ceil()), log }
    }

    fn height(&self, value: f64) -> f64 {
        let share = if self.log {
            let value = value.max(self.low);
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }

    fn marks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.high / self.low).log10().round() as i32;
            return (0..=decades).map(|decade| self.low * 10_f64.powi(decade)).collect();
        }
        let rough = self.high / 5.0;
        let unit = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * unit).into_iter().find(|step| *step >= rough).unwrap_or(unit);
        (0..).map(|n| f64::from(n) * step).take_while(|mark| *mark <= self.high).collect()
    }

    fn draw(&self, out: &mut String, name: &str) {
        for mark in self.marks() {
            let y = self.height(mark);
            rule(out, (LEFT, y), (WIDTH - RIGHT, y), false);
            text(out, (LEFT - 6.0, y + 4.0), "end", &number(mark));
        }
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let _ = writeln!(
            out,
            "<text transform=\"translate(14 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escaped(name)
        );
    }
}

/// A number as short as it can be read.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        size if size >= 1e4 => format!("{} k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Lines {
    /// The document.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut out = open(&self.title);
        let points = self.series.iter().flat_map(|series| &series.points);
        let axis = Axis::over(points.clone().map(|point| point.1), self.y_log);
        axis.draw(&mut out, &self.y);
        let (low, high) = points.fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.0), high.max(point.0)));
        let span = if high > low { high - low } else { 1.0 };
        let across = |x: f64| LEFT + (x - low) / span * (WIDTH - LEFT - RIGHT);
        for (x, name) in &self.x_marks {
            text(&mut out, (across(*x), HEIGHT - BOTTOM + 18.0), "middle", name);
        }
        text(&mut out, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - BOTTOM + 36.0), "middle", &self.x);
        let mut legend = LEFT;
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<String> =
                series.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), axis.height(*y))).collect();
            let points = points.join(" ");
            let _ =
                writeln!(out, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            for (x, y) in &series.points {
                let (x, y) = (across(*x), axis.height(*y));
                let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
            }
            let y = HEIGHT - 10.0;
            let _ = writeln!(
                out,
                "<rect x=\"{legend:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>",
                y - 9.0
            );
            text(&mut out, (legend + 14.0, y), "start", &series.name);
            legend += 40.0 + 6.6 * series.name.chars().count() as f64;
        }
        out + "</svg>\n"
    }
}

impl Bars {
    /// The document.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut out = open(&self.title);
        let line = self.line.iter().map(|line| line.0);
        let axis = Axis::over(self.bars.iter().map(|bar| bar.1).chain(line), false);
        axis.draw(&mut out, &self.y);
        let slot = (WIDTH - LEFT - RIGHT) / self.bars.len().max(1) as f64;
        for (at, ((name, value), colour)) in self.bars.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let x = LEFT + slot * (at as f64 + 0.2);
            let (y, floor) = (axis.height(*value), axis.height(0.0));
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                slot * 0.6,
                floor - y
            );
            text(&mut out, (x + slot * 0.3, y - 5.0), "middle", &number(round_3(*value)));
            text(&mut out, (x + slot * 0.3, HEIGHT - BOTTOM + 18.0), "middle", name);
        }
        if let Some((value, name)) = &self.line {
            let y = axis.height(*value);
            rule(&mut out, (LEFT, y), (WIDTH - RIGHT, y), true);
            text(&mut out, (WIDTH - RIGHT, y - 4.0), "end", name);
        }
        out + "</svg>\n"
    }
}

/// Three digits are what a measurement is worth.
fn round_3(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powf(value.abs().log10().floor() - 2.0);
    (value / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_are_whole_documents_inside_their_frame() {
        let line = |scale: f64| Series {
            name: "p99 <of & all>".to_owned(),
            points: (1..5).map(|n| (f64::from(n), scale * f64::from(n * n))).collect(),
        };
        let lines = Lines {
            title: "latency".to_owned(),
            x: "share".to_owned(),
            y: "ms".to_owned(),
            x_marks: vec![(1.0, "one".to_owned())],
            y_log: true,
            series: vec![line(0.5), line(300.0)],
        };
        let bars = Bars {
            title: "rates".to_owned(),
            y: "events/s".to_owned(),
            bars: vec![("a".to_owned(), 12_345.0), ("b".to_owned(), 0.0)],
            line: Some((20_000.0, "target".to_owned())),
        };
        for svg in [lines.svg(), bars.svg()] {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("<of"));
            for part in svg.split(" y=\"").skip(1) {
                let y: f64 = part.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=HEIGHT).contains(&y), "{y}");
            }
        }
        assert!(lines.svg().contains("&lt;of &amp; all&gt;"));
    }

    #[test]
    fn numbers_are_short_and_marks_are_round() {
        assert_eq!(number(1_500_000.0), "1.5 M");
        assert_eq!(number(20_000.0), "20 k");
        assert_eq!(number(0.25), "0.25");
        assert_eq!(Axis::over([90.0].into_iter(), false).marks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(Axis::over([0.3, 70.0].into_iter(), true).marks(), [0.1, 1.0, 10.0, 100.0]);
    }
}
