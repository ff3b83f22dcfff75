# SPDX-License-Identifier: GPL-2.0
#
# Figures in the first file, rows in the second: see `table` and `rows`.

function trim(text) {
	gsub(/^ +| +$/, "", text)
	return text
}

# The figure of a row for a kernel, "" where a part of it was not measured.
function figure(kernel, what,    part, n) {
	n = split(what, part, " / ")
	if (!((kernel, part[1]) in value) || (n == 2 && !((kernel, part[2]) in value)))
		return ""
	if (n == 1)
		return value[kernel, part[1]]
	return value[kernel, part[2]] ? value[kernel, part[1]] / value[kernel, part[2]] : ""
}

# Ratios to four places, which is what the counting allows; counts to one.
function show(number) {
	return number < 10 ? sprintf("%.4f", number) : sprintf("%.1f", number)
}

# Why there is no figure: bit 1 of the features says that the module does writes.
function absence(kernel, formula) {
	if (formula ~ /write/ && (kernel, "module.features") in value &&
	    int(value[kernel, "module.features"] / 2) % 2 == 0)
		return "not offered"
	return "not measured"
}

# By the figure itself, not by what is shown of it.
function verdict(number, limit,    part) {
	if (number == "" || limit == "-")
		return ""
	split(limit, part, " ")
	if (part[1] == ">=" ? number >= part[2] + 0 : number <= part[2] + 0)
		return "kept"
	missed++
	return "MISSED"
}

function heading(text,    i) {
	if (format == "json")
		return
	printf format == "markdown" ? "\n### %s\n\n" : "\n%s\n", text
	if (format != "markdown")
		return
	printf "| what | contract |"
	for (i = 1; i <= kernels; i++)
		printf " %s |", name[i]
	printf "\n| --- | --- |"
	for (i = 1; i <= kernels; i++)
		printf " ---: |"
	printf "\n"
}

function row(what, limit, formula,    i, number, word, shown) {
	if (format == "markdown")
		printf "| %s | %s |", what, limit == "-" ? "" : limit
	else if (format == "text")
		printf "  %-74s %-8s", what, limit == "-" ? "" : limit
	for (i = 1; i <= kernels; i++) {
		number = figure(name[i], formula)
		word = verdict(number, limit)
		shown = number == "" ? absence(name[i], formula) : show(number) range[name[i], formula]
		if (format == "json") {
			printf "%s\n  {\"kernel\": \"%s\", \"what\": \"%s\", \"section\": \"%s\", ", comma, name[i], what, section
			printf "\"formula\": \"%s\", \"limit\": \"%s\", ", formula, limit
			printf "\"figure\": %s, \"verdict\": \"%s\"}", number == "" ? "null" : number, word
			comma = ","
		} else if (format == "markdown") {
			printf " %s%s |", shown, word == "MISSED" ? " **missed**" : ""
		} else {
			printf " %12s %-6s", shown, word
		}
	}
	if (format != "json")
		printf "\n"
}

FNR == NR {
	if (!($1 in seen)) {
		seen[$1] = 1
		name[++kernels] = $1
	}
	value[$1, $2] = $3
	if (NF == 5)
		range[$1, $2] = " (" $4 "–" $5 ")"
	next
}

FNR == 1 {
	if (format == "json")
		printf "["
	if (format == "text") {
		printf "%-85s", ""
		for (i = 1; i <= kernels; i++)
			printf " %12s %-6s", name[i], ""
		printf "\n"
	}
}

/^## / {
	section = substr($0, 4)
	heading(section)
	next
}

/^#/ || /^$/ {
	next
}

{
	split($0, field, "|")
	row(trim(field[1]), trim(field[2]), trim(field[3]))
}

END {
	if (format == "json")
		printf "\n]\n"
	exit missed > 0
}
