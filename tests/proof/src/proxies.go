// Reads lines "server | variables | proxy" and says where Go chooses another proxy.
package main

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

func main() {
	lines, wrong := bufio.NewScanner(os.Stdin), 0
	count := 0
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Split(line, "|")
		os.Clearenv()
		for _, variable := range strings.Fields(words[1]) {
			name, value, _ := strings.Cut(variable, "=")
			os.Setenv(name, strings.ReplaceAll(value, "_", " "))
		}
		server, err := url.Parse(strings.TrimSpace(words[0]))
		if err != nil {
			panic(err)
		}
		found := "-"
		proxy, err := httpproxy.FromEnvironment().ProxyFunc()(server)
		if err != nil {
			found = err.Error()
		} else if proxy != nil {
			found = proxy.String()
		}
		count++
		if found != strings.TrimSpace(words[2]) {
			wrong++
			fmt.Printf("%s: Go takes %s\n", line, found)
		}
	}
	fmt.Printf("%d cases, %d otherwise\n", count, wrong)
	if wrong > 0 || count == 0 {
		os.Exit(1)
	}
}
