module kitcar.test/regctl

go 1.26.0

require github.com/regclient/regclient v0.11.7
