module apocryph/testbed/cluster

go 1.24.0
