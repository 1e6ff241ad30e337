//! The picture's colours. Each is there twice: the picture is drawn with the one for white paper,
//! and a style sheet inside it puts the other in its place where the reader's screen is dark.

use plotters::style::RGBColor;

/// A colour on white paper, and on a dark screen.
#[derive(Clone, Copy)]
pub(super) struct Colour {
    pub(super) light: RGBColor,
    dark: RGBColor,
}

pub(super) const PAPER: Colour = Colour::new(0xFF_FF_FF, 0x0D_11_17);
pub(super) const TEXT: Colour = Colour::new(0x1F_23_28, 0xE6_ED_F3);
pub(super) const FAINT: Colour = Colour::new(0x57_60_6A, 0x9D_A7_B3);
pub(super) const GRID: Colour = Colour::new(0xD8_DE_E4, 0x2A_31_3A);
pub(super) const ANSWERED: Colour = Colour::new(0x09_69_DA, 0x58_A6_FF);
pub(super) const FAILED: Colour = Colour::new(0xCF_22_2E, 0xFF_6A_69);
pub(super) const OUTAGE: Colour = Colour::new(0xF0_D9_8C, 0x4A_3A_10);
pub(super) const READY: Colour = Colour::new(0x2D_A4_4E, 0x3F_B9_50);
pub(super) const CONNECTING: Colour = Colour::new(0xBF_87_00, 0xE3_B3_41);
pub(super) const FAILING: Colour = Colour::new(0x82_50_DF, 0xBC_8C_FF);

const ALL: [Colour; 10] =
    [PAPER, TEXT, FAINT, GRID, ANSWERED, FAILED, OUTAGE, READY, CONNECTING, FAILING];

impl Colour {
    const fn new(light: u32, dark: u32) -> Self {
        Self { light: rgb(light), dark: rgb(dark) }
    }
}

const fn rgb(number: u32) -> RGBColor {
    let [_, red, green, blue] = number.to_be_bytes();
    RGBColor(red, green, blue)
}

/// As SVG has it.
fn name(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The drawing with the style sheet at its beginning.
pub(super) fn with_dark_colours(svg: &str) -> String {
    let rules: String = ALL
        .map(|Colour { light, dark }| {
            let (light, dark) = (name(light), name(dark));
            format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}\n")
        })
        .concat();
    let (tag, drawing) = svg.split_once(">\n").unwrap_or((svg, ""));
    format!(
        "{tag}>\n<style>\n@media (prefers-color-scheme: dark) {{\n{rules}}}\n</style>\n{drawing}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_colours_are_the_same_on_white_paper() {
        let lights: HashSet<_> = ALL.map(|ink| name(ink.light)).into();
        assert_eq!(lights.len(), ALL.len());
    }

    #[test]
    fn the_style_sheet_stands_at_the_beginning_of_the_drawing() {
        let svg = with_dark_colours("<svg width=\"1\">\n<rect fill=\"#FFFFFF\"/>\n</svg>\n");
        let (before, after) = svg.split_once("<style>").expect("a style sheet");
        assert_eq!(before, "<svg width=\"1\">\n");
        assert!(svg.contains("[fill=\"#FFFFFF\"]{fill:#0D1117}"), "{svg}");
        assert!(after.ends_with("</style>\n<rect fill=\"#FFFFFF\"/>\n</svg>\n"), "{svg}");
    }
}
