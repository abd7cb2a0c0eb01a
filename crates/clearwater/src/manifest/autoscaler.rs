use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;

use super::WorkloadKind;

/// Between which numbers of members an autoscaler keeps a workload, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elasticity {
    /// The fewest members.
    pub min: u32,
    /// The most members.
    pub max: u32,
    /// The processor time that members are to use on average, in percent of what their own container requests.
    pub cpu_percent: u32,
    /// For how many seconds more members must have been wanted before there are more.
    pub up_window_seconds: u32,
    /// For how many seconds fewer members must have been wanted before there are fewer.
    pub down_window_seconds: u32,
}

/// Bounds that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ElasticityError {
    /// An autoscaler that may take the last member away.
    #[error("the fewest members must be at least 1: with none left nothing measures load any more")]
    NoMinimum,
    /// Bounds the wrong way round.
    #[error("the most members ({max}) must be at least the fewest ({min})")]
    Crossed {
        /// The fewest members.
        min: u32,
        /// The most members.
        max: u32,
    },
    /// A share of processor time that is none.
    #[error("the processor time to aim at is a percentage from 1 to 1000, and {0} is not")]
    Percentage(u32),
    /// A window that Kubernetes refuses.
    #[error("a window lasts one hour at most, and {0} s is more")]
    Window(u32),
}

/// The longest window that Kubernetes takes, in seconds (k8s.io/kubernetes `pkg/apis/autoscaling/validation`).
const LONGEST_WINDOW: u32 = 3600;

impl Elasticity {
    /// Says what makes no sense.
    ///
    /// # Errors
    /// The first of the bounds that makes no sense.
    pub fn check(&self) -> Result<(), ElasticityError> {
        if self.min == 0 {
            return Err(ElasticityError::NoMinimum);
        }
        if self.max < self.min {
            return Err(ElasticityError::Crossed { min: self.min, max: self.max });
        }
        if !(1..=1000).contains(&self.cpu_percent) {
            return Err(ElasticityError::Percentage(self.cpu_percent));
        }
        match [self.up_window_seconds, self.down_window_seconds].into_iter().find(|w| *w > LONGEST_WINDOW) {
            Some(window) => Err(ElasticityError::Window(window)),
            None => Ok(()),
        }
    }

    /// The autoscaler of a workload, named like it. It measures `container` alone, so that a sidecar that idles or toils
    /// beside it says nothing about the component.
    ///
    /// ```
    /// use clearwater::manifest::{Elasticity, WorkloadKind};
    ///
    /// let six = Elasticity { min: 2, max: 6, cpu_percent: 60, up_window_seconds: 0, down_window_seconds: 600 };
    /// let autoscaler = six.autoscaler(WorkloadKind::Deployment, "sprout", "sprout", Default::default());
    /// assert_eq!(autoscaler.spec.unwrap().max_replicas, 6);
    /// ```
    pub fn autoscaler(
        &self,
        kind: WorkloadKind,
        workload: &str,
        container: &str,
        labels: BTreeMap<String, String>,
    ) -> HorizontalPodAutoscaler {
        let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let window = |seconds: u32| HPAScalingRules {
            stabilization_window_seconds: Some(count(seconds)),
            ..HPAScalingRules::default()
        };
        HorizontalPodAutoscaler {
            metadata: ObjectMeta {
                name: Some(workload.to_owned()),
                labels: Some(labels).filter(|l| !l.is_empty()),
                ..ObjectMeta::default()
            },
            spec: HorizontalPodAutoscalerSpec {
                scale_target_ref: CrossVersionObjectReference {
                    api_version: Some("apps/v1".to_owned()),
                    kind: kind.name().to_owned(),
                    name: workload.to_owned(),
                },
                min_replicas: Some(count(self.min)),
                max_replicas: count(self.max),
                metrics: Some(vec![MetricSpec {
                    type_: "ContainerResource".to_owned(),
                    container_resource: Some(ContainerResourceMetricSource {
                        container: container.to_owned(),
                        name: "cpu".to_owned(),
                        target: MetricTarget {
                            type_: "Utilization".to_owned(),
                            average_utilization: Some(count(self.cpu_percent)),
                            ..MetricTarget::default()
                        },
                    }),
                    ..MetricSpec::default()
                }]),
                behavior: Some(HorizontalPodAutoscalerBehavior {
                    scale_up: Some(window(self.up_window_seconds)),
                    scale_down: Some(window(self.down_window_seconds)),
                }),
            }
            .into(),
            ..HorizontalPodAutoscaler::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_measures_the_component_s_own_container() {
        let e = Elasticity { min: 2, max: 6, cpu_percent: 60, up_window_seconds: 0, down_window_seconds: 600 };
        let labels = BTreeMap::from([("service".to_owned(), "sprout".to_owned())]);
        let object = e.autoscaler(WorkloadKind::Deployment, "sprout-icscf", "sprout", labels);
        insta::assert_snapshot!(crate::yaml::write_one(&object).unwrap(), @r"
        apiVersion: autoscaling/v2
        kind: HorizontalPodAutoscaler
        metadata:
          labels:
            service: sprout
          name: sprout-icscf
        spec:
          behavior:
            scaleDown:
              stabilizationWindowSeconds: 600
            scaleUp:
              stabilizationWindowSeconds: 0
          maxReplicas: 6
          metrics:
          - containerResource:
              container: sprout
              name: cpu
              target:
                averageUtilization: 60
                type: Utilization
            type: ContainerResource
          minReplicas: 2
          scaleTargetRef:
            apiVersion: apps/v1
            kind: Deployment
            name: sprout-icscf
        ");
    }

    #[test]
    fn bounds_that_make_no_sense_are_named() {
        let good = Elasticity { min: 1, max: 1, cpu_percent: 60, up_window_seconds: 0, down_window_seconds: 600 };
        assert_eq!(good.check(), Ok(()));
        let wrong = [
            (Elasticity { min: 0, ..good }, ElasticityError::NoMinimum),
            (Elasticity { min: 3, max: 2, ..good }, ElasticityError::Crossed { min: 3, max: 2 }),
            (Elasticity { cpu_percent: 0, ..good }, ElasticityError::Percentage(0)),
            (Elasticity { down_window_seconds: 3601, ..good }, ElasticityError::Window(3601)),
        ];
        for (elasticity, error) in wrong {
            assert_eq!(elasticity.check(), Err(error));
        }
    }
}
