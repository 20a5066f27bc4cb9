package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// routes are what the host may ask for.
func (s *supervisor) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /status", func(response http.ResponseWriter, _ *http.Request) {
		// Who has hung up wants no answer.
		_ = json.NewEncoder(response).Encode(s.status())
	})
	routes.HandleFunc("POST /components/{name}/{verb}", s.control)
	return routes
}

func (s *supervisor) control(response http.ResponseWriter, request *http.Request) {
	process, known := s.processes[request.PathValue("name")]
	if !known {
		names := slices.Clone(s.order)
		text := fmt.Sprintf("no such component: there are %s", strings.Join(names, ", "))
		http.Error(response, text, http.StatusNotFound)
		return
	}
	switch request.PathValue("verb") {
	case "stop":
		process.Stop()
	case "start":
		process.Start()
	case "restart":
		process.Stop()
		process.Start()
	default:
		http.Error(response, "a component is stopped, started or restarted", http.StatusNotFound)
	}
}
