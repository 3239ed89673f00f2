.PHONY: help test race lint interop alerts deployment evidence evidence-short bench pictures dev ci build

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

dev: ## run everything in one process against a local authorization server
	go run ./cmd/freshet dev

test: ## all tests
	go test ./...

race: ## all tests under the race detector
	go test -race ./...

lint: ## vet and the linters, with the reasons in .golangci.yml
	go vet ./...
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI) run

interop: ## tests against authorization servers of others and a browser, which are installed on Debian (npm, chromium)
	cd interop && go vet ./... && go test ./...

alerts: ## the alert rules, with promtool (Debian: package prometheus)
	cd deploy/observability && promtool check rules alerts.yaml && promtool check config prometheus.yaml && promtool test rules alerts_test.yaml

deployment: ## chart, units and release configuration, with Helm's engine, systemd (Debian: package systemd) and goreleaser's reader
	cd deploy/check && go vet ./... && go test -count=1 ./...

evidence: ## every reliability experiment in its long form, one after the other (about three hours)
	go run ./internal/evidence/run all

evidence-short: ## the same in a few minutes, as the gate does
	go test -tags evidence -timeout 15m -parallel 4 ./internal/evidence ./internal/evidence/... ./internal/fleet

bench: ## every benchmark once, so that they keep working
	go test -run '^$$' -bench . -benchtime 1x ./...

pictures: ## the pictures of the documents, taken with Chromium from a freshet dev at work
	cd interop && go test -tags pictures -run 'TestPictures$$' .

build: ## static, stripped binaries in ./bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/freshet ./cmd/freshet
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/freshet-worker ./cmd/worker
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/freshet-scheduler ./cmd/scheduler

ci: ## the gate
	.ci/run

GOLANGCI = v2.15.0
