"""The frame of the report: style and the few lines of script that sort tables."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$TITLE</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
.verdict { border-left: 4px solid #2a6fb0; background: #f2f6fb; padding: .6rem 1rem; }
.verdict p { font-weight: 600; margin: 0; }
.verdict ul { margin: .4rem 0 0; padding-left: 1.2rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block;
  overflow-x: auto; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left;
  vertical-align: top; }
th { cursor: pointer; background: #f7f7f7; vertical-align: bottom; }
th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
figure { margin: 1.2rem 0; } img { max-width: 100%; }
figcaption { color: #555; font-size: 13px; }
summary { cursor: pointer; margin: .6rem 0; }
pre { overflow-x: auto; background: #f7f7f7; padding: .6rem; }
</style>
</head>
<body>
<h1>$TITLE</h1>
$BODY
<script>
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("th")];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0];
    const key = row => {
      const cell = row.cells[column];
      return cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : cell.textContent;
    };
    [...body.rows]
      .sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        const order = typeof x === "number" && typeof y === "number" ? x - y
          : String(x).localeCompare(String(y));
        return up ? order : -order;
      })
      .forEach(row => body.append(row));
  }));
}
</script>
</body>
</html>
"""
