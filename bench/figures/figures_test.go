package figures_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/bench/figures"
)

func TestMedianAndQuantile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		got, want float64
	}{
		"median of odd":    {figures.Median([]float64{3, 1, 2}), 2},
		"median of even":   {figures.Median([]float64{4, 1, 2, 3}), 2.5},
		"p99 of a hundred": {figures.Quantile(upTo(100), 0.99), 99},
		"p99 of ten":       {figures.Quantile(upTo(10), 0.99), 10},
		"p50 of ten":       {figures.Quantile(upTo(10), 0.5), 5},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v, want %v", name, tc.got, tc.want)
		}
	}
	if !math.IsNaN(figures.Median(nil)) || !math.IsNaN(figures.Quantile(nil, 0.5)) {
		t.Error("of nothing there is no median")
	}
}

func upTo(n int) (v []float64) {
	for i := n; i > 0; i-- {
		v = append(v, float64(i))
	}
	return v
}

func TestTargetsAreJudgedByTheMedian(t *testing.T) {
	t.Parallel()
	runs := []float64{1, 2, 9}
	for name, tc := range map[string]struct {
		target *figures.Target
		pass   bool
	}{
		"at least, reached": {figures.AtLeast(2), true},
		"at least, missed":  {figures.AtLeast(2.1), false},
		"at most, kept":     {figures.AtMost(2), true},
		"at most, broken":   {figures.AtMost(1.9), false},
	} {
		r := figures.Report{Out: io.Discard}
		f := r.Say(figures.Figure{Name: name, Runs: runs, Target: tc.target})
		if f.Pass == nil || *f.Pass != tc.pass || (r.Failed() == 0) != tc.pass {
			t.Errorf("%s: judged %v", name, f.Pass)
		}
		quick := figures.Report{Out: io.Discard, Quick: true}
		if f := quick.Say(figures.Figure{Name: name, Runs: runs, Target: tc.target}); f.Pass != nil {
			t.Errorf("%s: a quick run judged", name)
		}
	}
}

func TestPlotsAreWellFormedAndSayWhatTheyShow(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	figures.WriteSVG(&out, []figures.Series{
		{Plot: "a < b", Name: "one", XName: "credentials", YName: "/s", X: []float64{1, 1000, 1e6}, Y: []float64{5, 7, 6}, Low: []float64{4, 6, 5}, High: []float64{6, 8, 7}},
		{Plot: "a < b", Name: "two", XName: "credentials", YName: "/s", X: []float64{1, 1000, 1e6}, Y: []float64{0, 0, 0}},
	})
	for dec := xml.NewDecoder(bytes.NewReader(out.Bytes())); ; {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
	}
	for _, want := range []string{"a &lt; b", ">one<", ">two<", ">1M<", ">credentials<", ">10<"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the plot does not show %s", want)
		}
	}
	if strings.Contains(out.String(), "NaN") {
		t.Error("a point is nowhere")
	}
}
