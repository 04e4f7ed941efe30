package gormsync

import (
	"bytes"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"time"

	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/trackers"
)

// WriteTypes writes TypeScript declarations of the rows that clients get: an
// interface for each model, and one of all entities by name. Save it as a .d.ts
// file. Columns that are hidden from clients are not in it. What may be null is
// what the model says: pointers and the sql.Null types. 64-bit integers are
// numbers, although one beyond 2^53 arrives as text; JSON columns and types that
// marshal themselves are unknown.
//
// It needs the plugin's database for the names of tables and columns, so it
// returns an error before db.Use, and any error of w.
func WriteTypes(w io.Writer, p *Plugin) error {
	p.mu.Lock()
	log := p.log
	p.mu.Unlock()
	if log == nil {
		return fmt.Errorf("%w, then WriteTypes", errNotUsed)
	}
	var b bytes.Buffer
	b.WriteString("// The rows that gormsync serves. Written by gormsync.WriteTypes; do not edit.\n")
	entities := log.Entities()
	names := map[string]string{} // by entity
	for _, entity := range slices.Sorted(maps.Keys(entities)) {
		names[entity] = interfaceName(entities[entity].Schema.Name, names)
		writeInterface(&b, names[entity], entities[entity])
	}
	b.WriteString("\n/** The row of every entity. */\nexport interface Entities {\n")
	for _, entity := range slices.Sorted(maps.Keys(entities)) {
		fmt.Fprintf(&b, "  %s: %s;\n", property(entity), names[entity])
	}
	b.WriteString("}\n")
	_, err := w.Write(b.Bytes())
	return err
}

// interfaceName is the model's name; of two models of one name, from two
// packages, the second one gets a number.
func interfaceName(model string, taken map[string]string) string {
	used := slices.Collect(maps.Values(taken))
	name := model
	for n := 2; slices.Contains(used, name); n++ {
		name = fmt.Sprint(model, n)
	}
	return name
}

func writeInterface(b *bytes.Buffer, name string, t *trackers.Tracked) {
	fmt.Fprintf(b, "\n/** A row of %s. */\nexport interface %s {\n", t.Name, name)
	for _, f := range t.Schema.Fields {
		if f.DBName != "" && t.Shows(f.DBName) {
			fmt.Fprintf(b, "  %s: %s;\n", property(f.DBName), fieldType(f))
		}
	}
	b.WriteString("}\n")
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

func property(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	quoted, _ := json.Marshal(name) // a string always can be
	return string(quoted)
}

var (
	marshalerType = reflect.TypeFor[json.Marshaler]()
	textType      = reflect.TypeFor[encoding.TextMarshaler]()
	valuerType    = reflect.TypeFor[driver.Valuer]()
)

// fieldType is how the JSON of a field looks; package trackers writes it.
func fieldType(f *schema.Field) string {
	kind, null := jsonType(f.IndirectFieldType)
	if kind == "unknown" || (!null && f.FieldType.Kind() != reflect.Pointer) {
		return kind
	}
	return kind + " | null"
}

func jsonType(t reflect.Type) (kind string, null bool) {
	p := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "string", false
	case isNullable(t): // gorm.DeletedAt is one too
		kind, _ := jsonType(t.Field(0).Type)
		return kind, true
	case p.Implements(marshalerType):
		return "unknown", true
	case p.Implements(textType):
		return "string", false
	case p.Implements(valuerType):
		return "unknown", true
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean", false
	case reflect.String:
		return "string", false
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "string", true // base64; nil is null
		}
	default:
		if t.ConvertibleTo(reflect.TypeFor[float64]()) {
			return "number", false
		}
	}
	return "unknown", true
}

// isNullable knows sql.NullString and its like: a value, and whether it is Valid.
func isNullable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.NumField() == 2 && t.Field(1).Name == "Valid" && t.Field(1).Type.Kind() == reflect.Bool
}
