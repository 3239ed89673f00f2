package figures

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
)

// Series is one line of a plot.
type Series struct {
	Plot  string    `json:"plot"`
	Name  string    `json:"name"`
	XName string    `json:"x_name"`
	YName string    `json:"y_name"`
	X     []float64 `json:"x"`
	Y     []float64 `json:"y"`
	Low   []float64 `json:"low,omitempty"`  // of the runs, for each point
	High  []float64 `json:"high,omitempty"` // likewise
}

// The plot's sizes in pixels.
const (
	plotWidth, plotHeight        = 640, 400
	plotLeft, plotRight          = 80, 20
	plotTop, plotBottom          = 40, 60
	plotInnerX                   = plotWidth - plotLeft - plotRight
	plotInnerY                   = plotHeight - plotTop - plotBottom
	gridLines                    = 5
	dot                          = 4
	legendLine, swatch, fontSize = 16, 10, 12
)

// colours tell lines apart, for those who see no red as well (Okabe and Ito).
var colours = [...]string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"}

// WriteSVG draws the series as one plot: x on a logarithmic scale, y from zero.
func WriteSVG(w io.Writer, series []Series) {
	xMin, xMax, yMax := bounds(series)
	x := func(v float64) float64 {
		if xMax == xMin {
			return plotLeft + plotInnerX/2
		}
		return plotLeft + plotInnerX*(math.Log(v)-math.Log(xMin))/(math.Log(xMax)-math.Log(xMin))
	}
	y := func(v float64) float64 { return plotTop + plotInnerY*(1-v/yMax) }
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="%d">`+"\n", plotWidth, plotHeight, fontSize)
	fmt.Fprintf(w, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	text(w, plotWidth/2, plotTop/2, "middle", series[0].Plot)
	text(w, plotLeft+plotInnerX/2, plotHeight-15, "middle", series[0].XName)
	text(w, plotLeft, plotTop-8, "end", series[0].YName)
	for i := range gridLines + 1 {
		v := yMax * float64(i) / gridLines
		fmt.Fprintf(w, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", plotLeft, plotWidth-plotRight, y(v), y(v))
		text(w, plotLeft-8, y(v)+fontSize/3, "end", Number(v))
	}
	for _, v := range series[0].X {
		text(w, x(v), plotHeight-plotBottom+fontSize+6, "middle", short(v))
	}
	for i, s := range series {
		draw(w, s, colours[i%len(colours)], x, y)
		at := float64(plotTop + legendLine*(i+1))
		fmt.Fprintf(w, `<rect x="%d" y="%.1f" width="10" height="10" fill="%s"/>`+"\n", plotWidth-plotRight-swatch, at-swatch, colours[i%len(colours)])
		text(w, plotWidth-plotRight-swatch-6, at, "end", s.Name)
	}
	fmt.Fprintln(w, "</svg>")
}

func bounds(series []Series) (xMin, xMax, yMax float64) {
	xMin, xMax, yMax = math.Inf(1), math.Inf(-1), 0
	for _, s := range series {
		for i := range s.X {
			xMin, xMax, yMax = min(xMin, s.X[i]), max(xMax, s.X[i]), max(yMax, s.Y[i])
			if s.High != nil {
				yMax = max(yMax, s.High[i])
			}
		}
	}
	if yMax == 0 {
		yMax = 1
	}
	return xMin, xMax, roundUp(yMax)
}

// roundUp returns the next 1, 2, 2.5 or 5 times a power of ten.
func roundUp(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if v <= m*unit {
			return m * unit
		}
	}
	return 10 * unit
}

// draw draws a line, a dot for each median and a bar from the lowest run to the highest.
func draw(w io.Writer, s Series, colour string, x, y func(float64) float64) {
	points := ""
	for i := range s.X {
		points += fmt.Sprintf("%.1f,%.1f ", x(s.X[i]), y(s.Y[i]))
		fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="%d" fill="%s"/>`+"\n", x(s.X[i]), y(s.Y[i]), dot, colour)
		if s.Low != nil {
			fmt.Fprintf(w, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x(s.X[i]), x(s.X[i]), y(s.Low[i]), y(s.High[i]), colour)
		}
	}
	fmt.Fprintf(w, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", points, colour)
}

func text(w io.Writer, x, y float64, anchor, s string) {
	fmt.Fprintf(w, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
}

// short writes 1000000 as 1M.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}
