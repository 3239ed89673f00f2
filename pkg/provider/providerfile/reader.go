package providerfile

import (
	"encoding"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/freshetdev/freshet/pkg/provider"
)

// reader walks one document and collects what is wrong with it.
type reader struct {
	source    source
	faults    []*Fault
	providers []Provider

	// Of the provider that is being read:
	inside string          // what faults begin with
	at     map[string]at   // where each key stands, by its path; "" is the provider itself
	bad    map[string]bool // keys that have a fault already
}

// at is a place in the file, counted from 1; zero: the file as a whole.
type at struct{ line, column int }

// field reads the value of a key. The path is the key with its parents', such as "refresh.min_lead".
type field func(path string, n ast.Node)

// fault records a fault at a place.
func (r *reader) fault(where at, format string, args ...any) {
	r.faults = append(r.faults, r.source.fault(where, r.inside, format, args...))
}

// wrong records a fault of a value.
func (r *reader) wrong(path string, n ast.Node, format string, args ...any) {
	r.bad[path] = true
	r.fault(position(n), path+": "+format, args...)
}

// place is where a key stands, or the nearest of its parents if it is missing.
func (r *reader) place(path string) at {
	for {
		if where, ok := r.at[path]; ok {
			return where
		}
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
}

// each calls do for every pair of a mapping. A value that was left out makes an empty mapping.
func (r *reader) each(path string, n ast.Node, do func(key string, where at, n ast.Node)) {
	if n.Type() == ast.NullType {
		return
	}
	if !mapping(n) {
		r.fault(position(n), "%swant keys and values here, one on a line%s", prefix(path), unsupported(n))
		return
	}
	first := make(map[string]int)
	for pairs := n.(ast.MapNode).MapRange(); pairs.Next(); {
		key, where := pairs.Key(), position(pairs.Key())
		name, ok := scalar(key)
		switch {
		case !ok:
			r.fault(where, "%swant a plain key%s", prefix(path), unsupported(key))
		case first[name] > 0:
			r.fault(where, "%skey %s stands here twice, first on line %d", prefix(path), shown(name), first[name])
		default:
			first[name] = where.line
			do(name, where, pairs.Value())
		}
	}
}

// mapping reports whether a node is a mapping, or a key without a value, which is an empty one.
func mapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.NullNode:
		return true
	}
	return false
}

// unsupported says so where a file uses what YAML has and this reader has not.
func unsupported(n ast.Node) string {
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType:
		return "; anchors, aliases, merge keys and tags are not supported: write it out"
	default:
		return ""
	}
}

// shown is a key for a message. What is more than a word may be a value that lost its blank behind the colon.
func shown(key string) string {
	if len(key) > 40 || !word.MatchString(key) {
		return hidden
	}
	return strconv.Quote(key)
}

var word = regexp.MustCompile(`^[\pL\pN_.-]+$`)

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// fields reads a mapping whose keys are all known.
func (r *reader) fields(path string, n ast.Node, known map[string]field) {
	r.each(path, n, func(key string, where at, n ast.Node) {
		read, ok := known[key]
		if !ok {
			r.unknown(path, key, where, known)
			return
		}
		if r.at != nil {
			r.at[join(path, key)] = where
		}
		read(join(path, key), n)
	})
}

// unknown reports a key that is not known and names the one it is nearest to, or all of them.
func (r *reader) unknown(path, key string, where at, known map[string]field) {
	all := slices.Sorted(maps.Keys(known))
	hint := ": known are " + strings.Join(all, ", ")
	if meant := nearest(key, all); meant != "" {
		hint = "; did you mean " + meant + "?"
		if r.bad != nil {
			r.bad[join(path, meant)] = true // not missing, then
		}
	}
	r.fault(where, "%sunknown key %s%s", prefix(path), shown(key), hint)
}

// join is the path of a key.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (r *reader) group(known map[string]field) field {
	return func(path string, n ast.Node) { r.fields(path, n, known) }
}

// scalar returns a value's text as it was written; ok is false for everything that is not one plain value.
func scalar(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true // a client id may be a number, in its own spelling
	}
	return "", false
}

// value hands a plain value's text to use. A key without a value is as good as no key.
func (r *reader) value(path string, n ast.Node, use func(text string)) {
	if n.Type() == ast.NullType {
		return
	}
	text, ok := scalar(n)
	if !ok {
		r.wrong(path, n, "want one plain value%s", unsupported(n))
		return
	}
	use(text)
}

func (r *reader) text(dst *string) field {
	return func(path string, n ast.Node) {
		r.value(path, n, func(text string) { *dst = text })
	}
}

func (r *reader) texts(dst *[]string) field {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			r.wrong(path, n, "want a list, such as [one, two]%s", unsupported(n))
			return
		}
		*dst = nil // a list takes the place of the preset's
		for _, n := range list.Values {
			r.value(path, n, func(text string) { *dst = append(*dst, text) })
		}
	}
}

func (r *reader) parsed(dst encoding.TextUnmarshaler) field {
	return func(path string, n ast.Node) {
		r.value(path, n, func(text string) {
			if err := dst.UnmarshalText([]byte(text)); err != nil {
				r.wrong(path, n, "%v", err)
			}
		})
	}
}

func (r *reader) rate(dst *provider.Rate) field { return r.parsed(dst) }

const (
	mayBeZero = true
	notZero   = false
)

// duration reads a duration. Where zero stands for the default, nobody who writes zero means the default.
func (r *reader) duration(dst *provider.Duration, zeroOK bool) field {
	return func(path string, n ast.Node) {
		r.parsed(dst)(path, n)
		if dst.IsZero() && !zeroOK && !r.bad[path] && n.Type() != ast.NullType {
			r.wrong(path, n, "0 is not possible; leave the key out for the default")
		}
	}
}

func (r *reader) count(dst *int) field {
	return func(path string, n ast.Node) {
		r.value(path, n, func(text string) {
			count, err := strconv.Atoi(text)
			if err != nil || count < 1 {
				r.wrong(path, n, "%q is no count: want a whole number above 0", text)
				return
			}
			*dst = count
		})
	}
}

// secrets reads a reference or a list of them. What is not a reference may be a secret: no fault repeats it.
func (r *reader) secrets(dst *[]Reference) field {
	return func(path string, n ast.Node) {
		values := []ast.Node{n}
		if list, ok := n.(*ast.SequenceNode); ok {
			values = list.Values
		}
		for _, n := range values {
			if n.Type() == ast.NullType {
				continue
			}
			text, _ := scalar(n)
			ref, err := ParseReference(text)
			if err != nil {
				r.wrong(path, n, "%v", err)
			}
			*dst = append(*dst, ref) // the empty one counts too when the auth style is held against the secrets
		}
	}
}

// position is where a node begins, as people see it: for a block of keys that is the first key.
func position(n ast.Node) at {
	token := n.GetToken()
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			token = n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		token = n.Key.GetToken()
	}
	if token == nil || token.Position == nil {
		return at{}
	}
	return at{token.Position.Line, token.Position.Column}
}

// nearest returns the known key that a misspelt one is nearest to, or "".
func nearest(key string, known []string) string {
	best, least := "", 3 // letters to change; that many are another word
	for _, name := range known {
		if d := distance(key, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance counts the bytes to insert, drop or replace to turn a into b (Levenshtein). A long key is near nothing.
func distance(a, b string) int {
	if len(a) > 2*len(b)+2 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
