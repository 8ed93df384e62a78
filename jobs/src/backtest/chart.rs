//! The chart: equity above, drawdown below, over one time axis. It has its own background, so that it
//! reads the same on a light and on a dark page.

use plotters::coord::Shift;
use plotters::prelude::{
    AreaSeries, ChartBuilder, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, PathElement, RGBColor,
    SVGBackend, SeriesLabelPosition, Text,
};
use plotters::style::{Color, ShapeStyle};
use protocol::units::Timestamp;

use super::{Outcome, strategy};
use crate::report::JobError;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 600;
/// Points that a line has at most in one panel: two for each pixel column.
const COLUMNS: usize = 800;

const BACKGROUND: RGBColor = RGBColor(250, 250, 252);
const INK: RGBColor = RGBColor(40, 44, 52);
const GRID: RGBColor = RGBColor(222, 225, 230);
const EQUITY: RGBColor = RGBColor(20, 99, 190);
const BENCHMARK: RGBColor = RGBColor(150, 155, 165);
const DRAWDOWN: RGBColor = RGBColor(190, 50, 50);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The chart as SVG.
pub(super) fn draw(outcome: &Outcome<'_>) -> Result<String, JobError> {
    let mut svg = String::new();
    paint(outcome, &mut svg).map_err(|error| JobError::Chart(error.to_string()))?;
    Ok(svg)
}

fn paint(outcome: &Outcome<'_>, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&BACKGROUND)?;
    let title = format!(
        "{} on {}, {} to {}",
        strategy::describe(&outcome.spec.strategy),
        outcome.prices.price_column,
        outcome.prices.time_text(0),
        outcome.prices.time_text(outcome.prices.len().saturating_sub(1)),
    );
    root.draw(&Text::new(title, (24, 14), ("sans-serif", 20).into_font().color(&INK)))?;
    let (_, body) = root.split_vertically(40);
    let (upper, lower) = body.split_vertically(340);
    equity_panel(outcome, &upper)?;
    drawdown_panel(outcome, &lower)?;
    root.present()?;
    Ok(())
}

fn equity_panel(outcome: &Outcome<'_>, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let own = thin(&outcome.prices.times, &outcome.run.equity);
    let held = thin(&outcome.prices.times, &outcome.benchmark);
    let highest = own.iter().chain(&held).map(|point| point.1).fold(1.0, f64::max);
    let (first, last) = span(outcome);
    let mut chart = ChartBuilder::on(panel)
        .margin_right(24)
        .x_label_area_size(8)
        .y_label_area_size(84)
        .build_cartesian_2d(first..last, 0.0..highest * 1.05)?;
    chart
        .configure_mesh()
        .axis_style(GRID)
        .bold_line_style(GRID)
        .light_line_style(BACKGROUND)
        .x_labels(8)
        .x_label_formatter(&|_| String::new())
        .y_labels(7)
        .y_label_formatter(&|value| grouped(*value))
        .y_desc("Equity")
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    let legend =
        |colour: RGBColor| move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
    chart
        .draw_series(LineSeries::new(held, ShapeStyle::from(BENCHMARK).stroke_width(1)))?
        .label("buy and hold")
        .legend(legend(BENCHMARK));
    chart
        .draw_series(LineSeries::new(own, ShapeStyle::from(EQUITY).stroke_width(2)))?
        .label(strategy::describe(&outcome.spec.strategy))
        .legend(legend(EQUITY));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(BACKGROUND.mix(0.9))
        .border_style(GRID)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

fn drawdown_panel(outcome: &Outcome<'_>, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let points = thin(&outcome.prices.times, &outcome.drawdowns);
    let deepest = points.iter().map(|point| point.1).fold(-0.01, f64::min);
    let (first, last) = span(outcome);
    let days = (last - first) / 86_400_000.0;
    let mut chart = ChartBuilder::on(panel)
        .margin_right(24)
        .margin_bottom(8)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(first..last, deepest * 1.05..0.0)?;
    chart
        .configure_mesh()
        .axis_style(GRID)
        .bold_line_style(GRID)
        .light_line_style(BACKGROUND)
        .x_labels(8)
        .x_label_formatter(&|millis| time_label(*millis, days))
        .x_desc("Time (UTC)")
        .y_labels(5)
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .y_desc("Drawdown")
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    chart.draw_series(
        AreaSeries::new(points, 0.0, DRAWDOWN.mix(0.25))
            .border_style(ShapeStyle::from(DRAWDOWN).stroke_width(1)),
    )?;
    Ok(())
}

fn span(outcome: &Outcome<'_>) -> (f64, f64) {
    let times = &outcome.prices.times;
    let at = |time: Option<&Timestamp>| time.map_or(0.0, |time| time.as_millis() as f64);
    let (first, last) = (at(times.first()), at(times.last()));
    (first, last.max(first + 1.0))
}

/// At most two points for each pixel column, the lowest and the highest in it, so that a million bars
/// give a chart of a readable size that still shows every extreme.
fn thin(times: &[Timestamp], values: &[f64]) -> Vec<(f64, f64)> {
    let point = |bar: usize| (times[bar].as_millis() as f64, values[bar]);
    let bars = values.len();
    if bars <= 2 * COLUMNS {
        return (0..bars).map(point).collect();
    }
    let mut points = Vec::with_capacity(2 * COLUMNS + 2);
    for column in 0..COLUMNS {
        let range = column * bars / COLUMNS..(column + 1) * bars / COLUMNS;
        let lowest = range.clone().min_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(range.start);
        let highest = range.clone().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(range.start);
        points.push(point(lowest.min(highest)));
        if lowest != highest {
            points.push(point(lowest.max(highest)));
        }
    }
    points
}

fn time_label(millis: f64, days: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let text = Timestamp::from_millis(millis as i64).to_string();
    let length = if days > 1_100.0 {
        4
    } else if days > 90.0 {
        7
    } else if days > 4.0 {
        10
    } else {
        16
    };
    text.chars().take(length).collect::<String>().replace('T', " ")
}

/// `12345.6` as `12,346`.
fn grouped(value: f64) -> String {
    if value.abs() < 100.0 && value != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0
            && (digits.len() - index).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !text.ends_with('-')
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
