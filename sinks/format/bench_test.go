package format

import "testing"

func BenchmarkFormats(b *testing.B) {
	ev := cases()["process"]
	for name, render := range map[string]func() int{
		"ecs":     func() int { return len(ECS(&ev, ECSOptions{Options: options, Namespace: "default"})) },
		"hec":     func() int { return len(HEC(&ev, HECOptions{Options: options})) },
		"cef":     func() int { return len(CEF(&ev, options)) },
		"json":    func() int { return len(JSON(&ev, false)) },
		"rfc5424": func() int { m, _ := RFC5424(&ev, with(PayloadJSON), 8192); return len(m) },
	} {
		b.Run(name, func(b *testing.B) {
			size := 0
			for b.Loop() {
				size = render()
			}
			b.SetBytes(int64(size))
		})
	}
}
