package main

import (
	"fmt"
	"strings"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
)

// changeView is what setup did, or would do, about one asset.
type changeView struct {
	Kind        string           `json:"kind"`
	Name        string           `json:"name"`
	Action      broker.Action    `json:"action"`
	Differences []differenceView `json:"differences,omitempty"`
}

type differenceView struct {
	Field string `json:"field"`
	Have  string `json:"have"`
	Want  string `json:"want"`
}

func viewChange(c broker.Change) changeView {
	v := changeView{Kind: c.Kind, Name: c.Name, Action: c.Action}
	for _, d := range c.Differences {
		v.Differences = append(v.Differences, differenceView(d))
	}
	return v
}

// differences says in words what is not as it should be.
func (v changeView) differences() string {
	var words []string
	for _, d := range v.Differences {
		words = append(words, fmt.Sprintf("%s is %s, want %s", d.Field, d.Have, d.Want))
	}
	return strings.Join(words, "; ")
}

func (v changeView) row() row {
	return row{name: v.Name, cells: []string{v.Kind, v.Name, string(v.Action), v.differences()}, object: v}
}

// appliedView is what apply did, or would do, about one provider.
type appliedView struct {
	Provider string        `json:"provider"`
	Action   broker.Action `json:"action"`
	Lane     changeView    `json:"lane"`
	Found    []string      `json:"found,omitempty"`
	Warnings []string      `json:"warnings,omitempty"`
}

func viewApplied(a app.Applied) appliedView {
	return appliedView{Provider: a.Provider, Action: a.Action, Lane: viewChange(a.Lane), Found: a.Found, Warnings: a.Warnings}
}

func (v appliedView) row() row {
	notes := v.Warnings
	if len(v.Found) > 0 {
		notes = append(notes[:len(notes):len(notes)], "found "+strings.Join(v.Found, ", "))
	}
	if d := v.Lane.differences(); d != "" {
		notes = append(notes[:len(notes):len(notes)], "lane: "+d)
	}
	return row{
		name:   v.Provider,
		cells:  []string{v.Provider, string(v.Action), string(v.Lane.Action), strings.Join(notes, "; ")},
		object: v,
	}
}
