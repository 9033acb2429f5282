module kitcar.test/formats

go 1.25.7

require github.com/moby/patternmatcher v0.6.1
