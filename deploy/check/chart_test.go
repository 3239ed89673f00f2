package check_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const chartDir = "../helm/freshet"

// scaledObject is as much of KEDA's type (keda.sh/v1alpha1, v2.21) as the chart uses. KEDA's own module brings half of
// Kubernetes with it.
type scaledObject struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		ScaleTargetRef struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Name       string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount int32 `json:"minReplicaCount"`
		MaxReplicaCount int32 `json:"maxReplicaCount"`
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior struct {
					ScaleDown struct {
						StabilizationWindowSeconds int32 `json:"stabilizationWindowSeconds"`
					} `json:"scaleDown"`
				} `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type     string            `json:"type"`
			Metadata map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// kinds are what the chart may make, each with its type.
var kinds = map[string]func() meta.Object{
	"apps/v1 Deployment":                      func() meta.Object { return new(apps.Deployment) },
	"apps/v1 StatefulSet":                     func() meta.Object { return new(apps.StatefulSet) },
	"batch/v1 Job":                            func() meta.Object { return new(batch.Job) },
	"v1 ConfigMap":                            func() meta.Object { return new(core.ConfigMap) },
	"v1 Service":                              func() meta.Object { return new(core.Service) },
	"policy/v1 PodDisruptionBudget":           func() meta.Object { return new(policy.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy":      func() meta.Object { return new(networking.NetworkPolicy) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() meta.Object { return new(monitoring.ServiceMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() meta.Object { return new(monitoring.PrometheusRule) },
	"keda.sh/v1alpha1 ScaledObject":           func() meta.Object { return new(scaledObject) },
}

// release is what one set of values renders to.
type release struct {
	objects []meta.Object
	text    string
}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	must(t, err)
	return c
}

// valueSets are the values under ci/, by name.
func valueSets(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	must(t, err)
	sets := make(map[string]map[string]any)
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		var values map[string]any
		must(t, yaml.UnmarshalStrict(data, &values))
		sets[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = values
	}
	if len(sets) < 4 {
		t.Fatalf("%d sets of values under ci/", len(sets))
	}
	return sets
}

// renderFiles renders as helm template does, schema included.
func renderFiles(c *chart.Chart, values map[string]any) (map[string]string, error) {
	options := common.ReleaseOptions{Name: "rel", Namespace: "tokens", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, values, options, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.RenderWithContext(context.Background(), c, all)
}

// render decodes every document strictly: a field that Kubernetes does not know is an error.
func render(t *testing.T, values map[string]any) release {
	t.Helper()
	files, err := renderFiles(loadChart(t), values)
	must(t, err)
	var r release
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for document := range strings.SplitSeq(files[name], "\n---\n") {
			if strings.TrimSpace(document) == "" {
				continue
			}
			object, err := decode(document)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			r.objects, r.text = append(r.objects, object), r.text+document+"\n---\n"
		}
	}
	return r
}

func decode(document string) (meta.Object, error) {
	var kind meta.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		return nil, err
	}
	name := kind.APIVersion + " " + kind.Kind
	typed, ok := kinds[name]
	if !ok {
		return nil, fmt.Errorf("no type for %q", name)
	}
	object := typed()
	return object, yaml.UnmarshalStrict([]byte(document), object)
}

// find returns the objects of one type.
func find[T meta.Object](r release) (all []T) {
	for _, o := range r.objects {
		if found, ok := o.(T); ok {
			all = append(all, found)
		}
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// each runs a test for every set of values.
func each(t *testing.T, test func(t *testing.T, r release)) {
	t.Helper()
	for name, values := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, render(t, values))
		})
	}
}

func TestHelmLintHasNothingToSay(t *testing.T) {
	t.Parallel()
	for name, values := range valueSets(t) {
		for _, m := range lint.RunAll(chartDir, values, "tokens").Messages {
			if m.Severity > 1 { // an icon is recommended, and for information only
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// Without providers there is nothing to apply: freshet apply would refuse it.
func TestDefaultsRender(t *testing.T) {
	t.Parallel()
	for jobs, values := range map[int]map[string]any{1: nil, 2: valueSets(t)["default"]} {
		r := render(t, values)
		if len(find[*apps.StatefulSet](r)) != 1 || len(find[*apps.Deployment](r)) != 1 || len(find[*batch.Job](r)) != jobs {
			t.Errorf("want workers, schedulers and %d jobs:\n%s", jobs, r.text)
		}
	}
}

// Everything that can be switched on is there, and once.
func TestEverythingIsThere(t *testing.T) {
	t.Parallel()
	r := render(t, valueSets(t)["everything"])
	have := make(map[string]bool)
	for _, o := range r.objects {
		id := fmt.Sprintf("%T %s", o, o.GetName())
		if have[id] {
			t.Errorf("%s is there twice", id)
		}
		have[id] = true
		have[fmt.Sprintf("%T", o)] = true
	}
	for name, typed := range kinds {
		if !have[fmt.Sprintf("%T", typed())] {
			t.Errorf("nothing is a %s", name)
		}
	}
}

// The notes say what an upgrade or its end leaves to people, where it does.
func TestNotesSayWhatIsLeftToPeople(t *testing.T) {
	t.Parallel()
	c := loadChart(t)
	for name, want := range map[string][2]bool{"default": {true, false}, "everything": {true, true}, "exchanger": {false, false}} {
		files, err := renderFiles(c, valueSets(t)[name])
		must(t, err)
		notes := files["freshet/templates/NOTES.txt"]
		if stays := strings.Contains(notes, "delete configmap,networkpolicy -l app.kubernetes.io/instance=rel"); stays != want[0] || strings.Contains(notes, "KEDA") != want[1] {
			t.Errorf("%s: want %v of what stays, and of scaling:\n%s", name, want, notes)
		}
	}
}

// What is not meant is refused, in words that say where it is.
func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	c := loadChart(t)
	for name, tt := range map[string]struct{ values, says string }{
		"a typo at the top":               {"workers: {replicas: 3}", "'workers' not allowed"},
		"a typo below":                    {"worker: {replica: 3}", "at '/worker': additional properties 'replica' not allowed"},
		"a typo in a variable":            {"worker: {extraEnv: [{nam: A}]}", "/worker/extraEnv/0"},
		"a password in the address":       {"nats: {url: 'nats://worker:secret@nats:4222'}", "/nats/url"},
		"another way to log in":           {"nats: {auth: token}", "/nats/auth"},
		"a certificate from nowhere":      {"nats: {tls: {clientCertificate: true}}", "nats.tls.existingSecret"},
		"no secret for the keysets":       {"keysets: {existingSecret: ''}", "/keysets/existingSecret"},
		"a name that is none":             {"keysets: {existingSecret: 'My Secret'}", "/keysets/existingSecret"},
		"two replicas of a stream":        {"setup: {replicas: 2}", "/setup/replicas"},
		"no scheduler":                    {"scheduler: {replicas: 0}", "/scheduler/replicas"},
		"a budget of none":                {"worker: {podDisruptionBudget: {maxUnavailable: 0}}", "/worker/podDisruptionBudget"},
		"a volume for many":               {"worker: {persistence: {accessMode: ReadWriteMany}}", "/worker/persistence/accessMode"},
		"an amount that is none":          {"worker: {resources: {limits: {memory: lots}}}", "/worker/resources/limits/memory"},
		"a provider with a wrong name":    {"apply: {providers: {Acme: {}}}", "at '/apply/providers': additional properties 'Acme' not allowed"},
		"a secret in the values":          {"apply: {providers: {acme: {client_secret: hunter2}}}", "apply.providers.acme.client_secret is no reference"},
		"a secret in a list":              {"apply: {providers: {acme: {client_secret: ['env://A', hunter2]}}}", "apply.providers.acme.client_secret is no reference"},
		"providers in two places":         {"apply: {existingConfigMap: x, providers: {acme: {}}}", "apply.existingConfigMap"},
		"a digest that is none":           {"image: {digest: latest}", "/image/digest"},
		"scaling by nothing":              {"autoscaling: {enabled: true}", "autoscaling.lanes is empty"},
		"scaling to less than the least":  {"autoscaling: {enabled: true, lanes: [a], minReplicas: 5, maxReplicas: 2}", "autoscaling.minReplicas"},
		"a namespace that is a subject":   {"namespace: a.b", "/namespace"},
		"two things that do not go well ": {"{nats: {tls: {clientCertificate: true}}, autoscaling: {enabled: true}}", "certificate; autoscaling.lanes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var values map[string]any
			must(t, yaml.UnmarshalStrict([]byte(tt.values), &values))
			_, err := renderFiles(c, values)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, does not say %q", tt.values, err, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is in the error: %v", err)
			}
		})
	}
}

// Each option by itself, away from its default, renders to what Kubernetes takes, and to something else than without.
func TestEachOptionRenders(t *testing.T) {
	t.Parallel()
	base := valueSets(t)["default"]
	without := render(t, base).text
	for _, set := range []string{
		"nameOverride: other", "fullnameOverride: other", "image: {repository: example.com/freshet}", "image: {tag: 1.2.3}", "image: {pullPolicy: Always}",
		"imagePullSecrets: [{name: a}]", "namespace: a", "logLevel: warn", "nats: {url: 'tls://a:1'}", "nats: {auth: creds}", "nats: {existingSecret: a}",
		"nats: {users: {worker: w1}}", "nats: {inboxPrefix: ''}", "nats: {tls: {existingSecret: a}}", "keysets: {existingSecret: a}",
		"metrics: {tls: {existingSecret: a}}", "metrics: {token: {existingSecret: a}}", "metrics: {serviceMonitor: {enabled: true}}", "metrics: {prometheusRule: {enabled: true}}",
		"setup: {enabled: false}", "setup: {replicas: 3}", "apply: {enabled: false}", "apply: {envExistingSecret: a}", "apply: {filesExistingSecret: a}",
		"scheduler: {replicas: 3}", "scheduler: {podDisruptionBudget: {enabled: false}}", "scheduler: {priorityClassName: a}", "worker: {replicas: 0}", "worker: {hands: 4}",
		"worker: {journalSync: true}", "worker: {terminationGracePeriodSeconds: 90}", "worker: {persistence: {size: 2Gi}}", "worker: {persistence: {storageClassName: a}}",
		"worker: {persistence: {accessMode: ReadWriteOncePod}}", "worker: {resources: {limits: {memory: 1Gi}}}", "worker: {podDisruptionBudget: {maxUnavailable: 2}}",
		"worker: {extraEnv: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}", "worker: {nodeSelector: {a: b}}", "worker: {tolerations: [{operator: Exists}]}",
		"worker: {affinity: {podAntiAffinity: {}}}", "worker: {priorityClassName: a}", "exchanger: {enabled: true}",
		"worker: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}",
		"autoscaling: {enabled: true, lanes: [acme]}", "autoscaling: {enabled: true, lanes: [acme], account: A, useHttps: true, lagThreshold: 8}",
		"networkPolicy: {enabled: true}", "networkPolicy: {enabled: true, providers: {ports: [8443]}}",
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			var values map[string]any
			must(t, yaml.UnmarshalStrict([]byte(set), &values))
			if render(t, util.CoalesceTables(values, maps.Clone(base))).text == without {
				t.Error("it changes nothing")
			}
		})
	}
}

// What the schema describes is what values.yaml has.
func TestSchemaDescribesEveryValue(t *testing.T) {
	t.Parallel()
	c := loadChart(t)
	var schema map[string]any
	must(t, yaml.Unmarshal(c.Schema, &schema))
	compare(t, "", schema, c.Values)
}

func compare(t *testing.T, path string, schema, values map[string]any) {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return // free in form, such as an affinity
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%s: the schema lets everything in", path)
	}
	for name, p := range properties {
		value, ok := values[name]
		if !ok && name != "global" {
			t.Errorf("%s.%s is in the schema and not in values.yaml", path, name)
		}
		if below, ok := value.(map[string]any); ok {
			compare(t, path+"."+name, p.(map[string]any), below)
		}
	}
	for name := range values {
		if _, ok := properties[name]; !ok {
			t.Errorf("%s.%s is in values.yaml and not in the schema", path, name)
		}
	}
}

// The page's values are taken as they stand there, and its secrets are the defaults.
func TestPageShowsValuesThatRender(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(page), "\n```yaml\n")
	text, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatal("no values in README.md")
	}
	var values map[string]any
	must(t, yaml.UnmarshalStrict([]byte(text), &values))
	r := render(t, values)
	for _, p := range pods(r) {
		for _, v := range p.Spec.Volumes {
			if v.Secret != nil && !strings.Contains(string(page), "`"+v.Secret.SecretName+"`") {
				t.Errorf("README.md does not name the secret %s", v.Secret.SecretName)
			}
		}
	}
	if !strings.Contains(r.text, "client_secret: env://ACME_SECRET") {
		t.Errorf("the provider is not there:\n%s", r.text)
	}
}
