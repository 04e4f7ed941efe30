// Package plugintest holds the tests of gormsync beside other GORM plugins and
// with the types that they bring.
package plugintest
