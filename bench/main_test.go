package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/bench/figures"
)

// TestMain also is the child processes: contestants start their workers as this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		if err := child(os.Args[2:]); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Every experiment and every contestant works. Redis and PostgreSQL are installed where that can be done, else this fails
// and says why.
func TestAQuickRunMeasuresEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out bytes.Buffer
	path := filepath.Join(dir, "figures.json")
	if err := run([]string{"--quick", "--runs", "1", "--json", path, "--plots", dir}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Log(out.String())
	var got struct {
		Machine figures.Machine
		Figures []figures.Figure
		Series  []figures.Series
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	measured := make(map[string]int)
	for _, f := range got.Figures {
		measured[strings.Fields(f.Experiment)[0]]++
		if math.IsNaN(f.Median) || len(f.Runs) == 0 {
			t.Errorf("%s: %s was not measured", f.Experiment, f.Name)
		}
		if f.Pass != nil {
			t.Errorf("%s: %s was judged by a quick run", f.Experiment, f.Name)
		}
	}
	for _, e := range experiments() {
		if measured[e.name] == 0 {
			t.Errorf("%s has no figures", e.name)
		}
	}
	wantPromisesKept(t, got.Figures)
	for _, c := range (&bench{}).competitors() {
		if !strings.Contains(out.String(), "| "+c.name+" ") {
			t.Errorf("%s is not in the table", c.name)
		}
	}
	if plots, err := filepath.Glob(filepath.Join(dir, "*.svg")); err != nil || len(plots) == 0 || len(got.Series) < len(plots) {
		t.Errorf("%d plots of %d series, error %v", len(plots), len(got.Series), err)
	}
	if got.Machine.Versions["github.com/riverqueue/river"] == "" || got.Machine.CPUs == 0 {
		t.Errorf("the machine is not described: %+v", got.Machine)
	}
}

// wantPromisesKept: what Freshet promises holds in the smallest run as well.
func wantPromisesKept(t *testing.T, all []figures.Figure) {
	t.Helper()
	value := make(map[string]float64)
	for _, f := range all {
		value[f.Name] = f.Median
	}
	for _, who := range []string{"freshet", "freshet exchanger"} {
		if n, ok := value[who+": refresh tokens replayed"]; !ok || n != 0 {
			t.Errorf("%s replayed %v refresh tokens", who, n)
		}
		if value[who+": grants lost"] > value[who+": lost and known from the store"] {
			t.Errorf("%s lost %v grants, of which %v are known", who, value[who+": grants lost"], value[who+": lost and known from the store"])
		}
	}
	if n := value["freshet exchanger: grants lost"]; n != 0 {
		t.Errorf("with an exchanger %v grants were lost", n)
	}
}

func TestTheCommandLineIsChecked(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no such experiment": {"nonsense"}, "one of two is none": {"compare", "nonsense"}, "no number": {"compare", "--at-once", "many"},
		"unknown flag": {"--nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := (&bench{}).parse(args); err == nil {
				t.Errorf("%q was taken", args)
			}
		})
	}
	b := &bench{}
	todo, _, err := b.parse([]string{"lost", "compare", "--runs", "2"})
	if err != nil || len(todo) != 2 || todo[0].name != "compare" || b.runs != 2 {
		t.Errorf("two experiments: %d of them, %d runs, error %v", len(todo), b.runs, err)
	}
}
