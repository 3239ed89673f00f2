package check_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// pods are the templates of all pods, by component.
func pods(r release) map[string]core.PodTemplateSpec {
	all := make(map[string]core.PodTemplateSpec)
	add := func(p core.PodTemplateSpec) { all[p.Labels["app.kubernetes.io/component"]] = p }
	for _, d := range find[*apps.Deployment](r) {
		add(d.Spec.Template)
	}
	for _, s := range find[*apps.StatefulSet](r) {
		add(s.Spec.Template)
	}
	for _, j := range find[*batch.Job](r) {
		add(j.Spec.Template)
	}
	return all
}

// containers are all of a pod.
func containers(p core.PodTemplateSpec) []core.Container {
	return append(slices.Clone(p.Spec.InitContainers), p.Spec.Containers...)
}

// Kubernetes calls it the restricted profile (Pod Security Standards); a read-only root is more than that.
func TestPodsAreConfined(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r release) {
		for component, p := range pods(r) {
			s := p.Spec.SecurityContext
			if s == nil || !isTrue(s.RunAsNonRoot) || s.RunAsUser == nil || *s.RunAsUser == 0 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: security context %+v", component, s)
			}
			if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
				t.Errorf("%s gets a token for Kubernetes", component)
			}
			for _, c := range containers(p) {
				checkContainer(t, c)
			}
			for _, v := range p.Spec.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s: volume %s is the node's", component, v.Name)
				}
			}
		}
	})
}

func isTrue(b *bool) bool { return b != nil && *b }

func checkContainer(t *testing.T, c core.Container) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || !isTrue(s.RunAsNonRoot) || !isTrue(s.ReadOnlyRootFilesystem) || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: security context %+v", c.Name, s)
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s: resources %v", c.Name, c.Resources)
	}
}

// What stays has probes; they reach its own port, over TLS.
func TestWhatStaysHasProbes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r release) {
		for component, p := range pods(r) {
			if p.Spec.RestartPolicy == core.RestartPolicyNever {
				continue
			}
			for _, c := range containers(p) {
				for path, probe := range map[string]*core.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
					if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Scheme != core.URISchemeHTTPS {
						t.Errorf("%s: %s: no probe of %s", component, c.Name, path)
						continue
					}
					port := slices.IndexFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == probe.HTTPGet.Port.StrVal })
					if port < 0 || !slices.Contains(c.Args, fmt.Sprintf("--metrics-listen=:%d", c.Ports[port].ContainerPort)) {
						t.Errorf("%s: nothing listens at the port of %s", c.Name, path)
					}
				}
			}
		}
	})
}

// Every mount has a volume, every volume a mount, and every secret is one of those that values name.
func TestVolumesAndMountsAgree(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r release) {
		claims := map[string]bool{}
		for _, c := range find[*apps.StatefulSet](r)[0].Spec.VolumeClaimTemplates {
			claims[c.Name] = true
		}
		for component, p := range pods(r) {
			volumes, mounted := map[string]bool{}, map[string]bool{}
			for _, v := range p.Spec.Volumes {
				if volumes[v.Name] {
					t.Errorf("%s: volume %s is there twice", component, v.Name)
				}
				volumes[v.Name] = true
			}
			for _, c := range containers(p) {
				for _, m := range c.VolumeMounts {
					mounted[m.Name] = true
					if !volumes[m.Name] && !(component == "worker" && claims[m.Name]) {
						t.Errorf("%s: %s mounts %s, which is not there", component, c.Name, m.Name)
					}
					if m.Name != "state" && m.Name != "exchanger" && !m.ReadOnly {
						t.Errorf("%s: %s may write into %s", component, c.Name, m.Name)
					}
				}
				checkFiles(t, p, c)
			}
			for v := range volumes {
				if !mounted[v] {
					t.Errorf("%s: nobody mounts %s", component, v)
				}
			}
		}
	})
}

// checkFiles wants each file that an argument or a variable names below /run/freshet to be in the volume that is mounted there.
func checkFiles(t *testing.T, p core.PodTemplateSpec, c core.Container) {
	t.Helper()
	have := map[string]bool{}
	for _, m := range c.VolumeMounts {
		for _, v := range p.Spec.Volumes {
			if v.Name != m.Name || v.Secret == nil {
				continue
			}
			for _, item := range v.Secret.Items {
				have[m.MountPath+"/"+item.Path] = true
			}
		}
	}
	var named []string
	for _, a := range c.Args {
		_, value, _ := strings.Cut(a, "=")
		named = append(named, value)
	}
	for _, e := range c.Env {
		named = append(named, e.Value)
	}
	for _, path := range named {
		if strings.HasPrefix(path, "/run/freshet/") && !have[path] && path != "/run/freshet/providers/providers.yaml" {
			t.Errorf("%s names %s, which nothing puts there", c.Name, path)
		}
	}
}

// Each component gets the keys of its work, and a role's credentials only for the process of that role.
func TestEachComponentGetsItsOwnSecrets(t *testing.T) {
	t.Parallel()
	keysets := map[string][]string{"scheduler": nil, "setup": nil, "apply": {"grant"}, "worker": {"access", "grant"}, "exchanger": {"grant"}}
	role := map[string]string{"scheduler": "scheduler", "setup": "operator", "apply": "operator", "worker": "worker", "exchanger": ""}
	each(t, func(t *testing.T, r release) {
		for _, p := range pods(r) {
			for _, c := range containers(p) {
				var have []string
				for _, m := range c.VolumeMounts {
					for _, v := range p.Spec.Volumes {
						for _, item := range items(v, m.Name) {
							if which, ok := strings.CutSuffix(item.Key, ".keyset.json"); ok {
								have = append(have, which)
							}
							if who, ok := strings.CutSuffix(item.Key, ".creds"); ok && who != role[c.Name] {
								t.Errorf("%s gets the credentials of %s", c.Name, who)
							}
						}
					}
				}
				slices.Sort(have)
				if !slices.Equal(have, keysets[c.Name]) {
					t.Errorf("%s gets the keysets %v, want %v", c.Name, have, keysets[c.Name])
				}
				for _, e := range c.Env {
					if e.Name == "NATS_PASSWORD" && (e.Value != "" || e.ValueFrom.SecretKeyRef.Key != role[c.Name]+"-password") {
						t.Errorf("%s: NATS_PASSWORD is %+v", c.Name, e)
					}
				}
			}
		}
	})
}

func items(v core.Volume, name string) []core.KeyToPath {
	if v.Name != name || v.Secret == nil {
		return nil
	}
	return v.Secret.Items
}

// The names of secrets are all there is of them: with names of one's own, none of the defaults is left.
func TestSecretsAreNamedByValues(t *testing.T) {
	t.Parallel()
	r := render(t, valueSets(t)["secrets"])
	if strings.Contains(r.text, "kind: Secret\n") {
		t.Error("the chart makes a secret")
	}
	for _, p := range pods(r) {
		var names []string
		for _, v := range p.Spec.Volumes {
			if v.Secret != nil {
				names = append(names, v.Secret.SecretName)
			}
		}
		for _, c := range containers(p) {
			for _, e := range c.EnvFrom {
				names = append(names, e.SecretRef.Name)
			}
		}
		for _, s := range p.Spec.ImagePullSecrets {
			names = append(names, s.Name)
		}
		for _, name := range names {
			if !strings.HasPrefix(name, "own-") {
				t.Errorf("secret %s is not one that the values name", name)
			}
		}
	}
}

// A worker that goes leaves its volume; how many there are is the autoscaler's to say where there is one.
func TestWorkersKeepTheirJournals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r release) {
		s := find[*apps.StatefulSet](r)[0]
		keep := s.Spec.PersistentVolumeClaimRetentionPolicy
		if keep == nil || keep.WhenScaled != apps.RetainPersistentVolumeClaimRetentionPolicyType || keep.WhenDeleted != apps.RetainPersistentVolumeClaimRetentionPolicyType {
			t.Errorf("retention %+v", keep)
		}
		scaled := find[*scaledObject](r)
		if (s.Spec.Replicas == nil) != (len(scaled) == 1) {
			t.Errorf("replicas %v beside %d autoscalers", s.Spec.Replicas, len(scaled))
		}
		for _, o := range scaled {
			if to := o.Spec.ScaleTargetRef; to.Name != s.Name || to.Kind != s.Kind || to.APIVersion != s.APIVersion {
				t.Errorf("%+v is scaled, want %s", to, s.Name)
			}
			if len(o.Spec.Triggers) != 2 || o.Spec.Triggers[0].Metadata["stream"] != "prod_REFRESH_JOBS" || o.Spec.Triggers[0].Metadata["consumer"] != "acme" {
				t.Errorf("triggers %v", o.Spec.Triggers)
			}
		}
		if names := find[*core.Service](r); !slices.ContainsFunc(names, func(n *core.Service) bool { return n.Name == s.Spec.ServiceName }) {
			t.Errorf("there is no service %s", s.Spec.ServiceName)
		}
	})
}

// The exchanger is a sidecar in the sense of Kubernetes: it outlives the worker's container.
func TestExchangerServesTheWorkerBesideIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r release) {
		worker := pods(r)["worker"]
		address := argument(worker.Spec.Containers[0], "--exchanger")
		if len(worker.Spec.InitContainers) == 0 {
			if address != "" {
				t.Errorf("the worker asks %s, and there is no exchanger", address)
			}
			return
		}
		x := worker.Spec.InitContainers[0]
		if x.RestartPolicy == nil || *x.RestartPolicy != core.ContainerRestartPolicyAlways {
			t.Errorf("restart policy %v", x.RestartPolicy)
		}
		if address == "" || address != argument(x, "--listen") {
			t.Errorf("the worker asks %q, the exchanger listens on %q", address, argument(x, "--listen"))
		}
		if own := argument(x, "--state-dir"); own == "" || own == argument(worker.Spec.Containers[0], "--state-dir") {
			t.Errorf("the exchanger's state is in %q", own)
		}
	})
}

func argument(c core.Container, flag string) string {
	for _, a := range c.Args {
		if name, value, _ := strings.Cut(a, "="); name == flag {
			return value
		}
	}
	return ""
}

// Whatever selects pods selects those of one component.
func TestSelectorsSelectOneComponent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r release) {
		all := pods(r)
		selects := func(who string, want map[string]string) {
			var found []string
			for component, p := range all {
				if labels.SelectorFromSet(want).Matches(labels.Set(p.Labels)) {
					found = append(found, component)
				}
			}
			if len(found) != 1 || !strings.HasSuffix(who, found[0]) {
				t.Errorf("%s selects %v", who, found)
			}
		}
		for _, d := range find[*apps.Deployment](r) {
			selects(d.Name, d.Spec.Selector.MatchLabels)
		}
		for _, s := range find[*apps.StatefulSet](r) {
			selects(s.Name, s.Spec.Selector.MatchLabels)
		}
		for _, s := range find[*core.Service](r) {
			selects(s.Name, s.Spec.Selector)
		}
		for _, b := range find[*policy.PodDisruptionBudget](r) {
			selects(b.Name, b.Spec.Selector.MatchLabels)
		}
		policies := find[*networking.NetworkPolicy](r)
		for _, n := range policies {
			selects(n.Name, n.Spec.PodSelector.MatchLabels)
		}
		if len(policies) != 0 && len(policies) != len(all) {
			t.Errorf("%d network policies for %d components", len(policies), len(all))
		}
		for _, o := range r.objects {
			if o.GetNamespace() != "tokens" || o.GetLabels()["app.kubernetes.io/instance"] != "rel" || o.GetLabels()["helm.sh/chart"] == "" {
				t.Errorf("%s: namespace %s, labels %v", o.GetName(), o.GetNamespace(), o.GetLabels())
			}
		}
	})
}

// Prometheus finds the ports by name, and calls the processes as the alerts do.
func TestMonitorsFindTheirServices(t *testing.T) {
	t.Parallel()
	r := render(t, valueSets(t)["everything"])
	jobs := map[string]bool{}
	for _, m := range find[*monitoring.ServiceMonitor](r) {
		for _, s := range find[*core.Service](r) {
			if !labels.SelectorFromSet(m.Spec.Selector.MatchLabels).Matches(labels.Set(s.Labels)) {
				continue
			}
			if len(m.Spec.Endpoints) != len(s.Spec.Ports) {
				t.Errorf("%s: %d endpoints for %d ports", m.Name, len(m.Spec.Endpoints), len(s.Spec.Ports))
			}
			for _, e := range m.Spec.Endpoints {
				if !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == e.Port }) {
					t.Errorf("%s: no port %s", m.Name, e.Port)
				}
				jobs[*e.RelabelConfigs[0].Replacement] = true
			}
		}
	}
	want := []string{"freshet-exchanger", "freshet-scheduler", "freshet-worker"}
	if got := slices.Sorted(maps.Keys(jobs)); !slices.Equal(got, want) {
		t.Errorf("jobs %v, want %v", got, want)
	}
}

// The chart's alerts are those of deploy/observability.
func TestAlertsAreTheOnesThereAre(t *testing.T) {
	t.Parallel()
	rule := find[*monitoring.PrometheusRule](render(t, valueSets(t)["everything"]))[0]
	data, err := os.ReadFile("../observability/alerts.yaml")
	must(t, err)
	var spec monitoring.PrometheusRuleSpec
	must(t, yaml.UnmarshalStrict(data, &spec))
	have, err := yaml.Marshal(rule.Spec)
	must(t, err)
	want, err := yaml.Marshal(spec)
	must(t, err)
	if len(spec.Groups) == 0 || string(have) != string(want) {
		t.Errorf("the chart has\n%s\nwant\n%s", have, want)
	}
}
