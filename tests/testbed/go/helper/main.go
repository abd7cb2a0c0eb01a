// Command helper is what the test bed runs beside Kubernetes: the controllers
// that a cloud would bring, and the broken servers that tests ask for.
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func(arguments []string) error{
		"controllers": controllers,
		"proxy":       proxy,
		"registry":    registry,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "helper: the first argument names the command: controllers, proxy, registry")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "helper %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
