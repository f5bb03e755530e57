/* This header has the version of the interface that a program was compiled with. moehill_version() returns
 * the version of the library that the program runs with. The number behind .so changes with the
 * major number. */
#ifndef MOEHILL_VERSION_H
#define MOEHILL_VERSION_H

#define MOEHILL_VERSION_MAJOR 0
#define MOEHILL_VERSION_MINOR 3
#define MOEHILL_VERSION_PATCH 0
#define MOEHILL_VERSION "0.3.0"

#endif
