// Package flatjson writes and reads JSON objects of plain members as encoding/json would, byte for byte, in a fraction of its
// time: records, outcomes and events are written and read several times for each refresh. What it does not know it leaves to
// encoding/json: Object.Any takes any value, and Read says when an object is not flat.
package flatjson
