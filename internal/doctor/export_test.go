package doctor

// What cannot be brought about within a test's time is judged from numbers.
var (
	JudgeLimits      = judgeLimits
	JudgeStream      = judgeStream
	JudgeClock       = judgeClock
	JudgeLane        = judgeLane
	JudgeCertificate = judgeCertificate
)
