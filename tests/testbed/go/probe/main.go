// Command probe is a small program to look at networks with: on the host in a
// node's network namespace, and in pods of the test bed's own tests.
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func(arguments []string) error{
		"get":     get,
		"resolve": resolve,
		"serve":   serve,
		"write":   write,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "probe: the first argument names the command: get, resolve, serve, write")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "probe %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
